"""`tapedeck probe`: hostile answers, no network, Ctrl-C, and the answers that it keeps."""

import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from support.database_server import ROOT
from support.machine.terminal import in_terminal
from support.misbehaving_rest import response, rest_server
from support.simulator.probed import ask, point_to, probed

from recorder.cli import main
from recorder.venues import VENUES
from recorder.venues.questionnaires import QUESTIONNAIRES

TAPEDECK = ROOT / ".venv" / "bin" / "tapedeck"
NOWHERE = "127.0.0.1:1"
HOSTILE = {
    "html": b"<!DOCTYPE html><html><body>Access denied \x1b]0;owned\x07</body></html>",
    "nested": b"[" * 200_000 + b"]" * 200_000,
    "huge": b"[" + b'"x",' * 4_000_000 + b"1]",
    "words": '{"error":["\\u001b]0;owned\\u0007"],"code":"\x1b[2J","message":"\x1b[2J\u202e"}'.encode(),
    "null": b"null",
    "numbers": b'{"data":[{"id":1e999,"trade_id":-1,"price":"nan"}],"result":{"x":[[1]],"last":[]},"code":"0"}',
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("DATABASE_URL", "TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path))
    return tmp_path


def point_services(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("GAMMA", "CLOB", "DATA", "YAHOO"):
        monkeypatch.setenv(f"TAPEDECK__POLLER__SERVICES__{service}", url)


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_a_hostile_answer_costs_one_verdict_each(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with rest_server(response(body=HOSTILE[kind])) as server:
        point_to("kraken", f"ws://{NOWHERE}", server.url, monkeypatch)
        answers = ask("kraken", capsys)
    assert len(answers.report["lines"]) == len(QUESTIONNAIRES["kraken"].questions)
    assert "agrees" not in answers.states.values()


def test_what_is_seen_is_printed_escaped_and_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    with rest_server(response(body=HOSTILE["words"])) as server:
        point_to("kraken", f"ws://{NOWHERE}", server.url, monkeypatch)
        code, lines, _ = in_terminal([str(TAPEDECK), "probe", "kraken"], 80, dict(os.environ))
    assert code == 1
    shown = "".join("".join(lines).split())
    assert r"\x1b[2J" in shown
    assert "\x1b" not in shown
    table = [line for line in lines if line.startswith(("question", "trades-", "listing"))]
    assert table
    assert max(map(len, table)) <= 80


def test_a_refused_port_is_one_line_and_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    point_to("kraken", f"ws://{NOWHERE}", f"http://{NOWHERE}", monkeypatch)
    assert main(["probe", "kraken"]) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith(f"tapedeck: kraken cannot be asked: {NOWHERE} refuses connections")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"http://{NOWHERE}", f"{NOWHERE} refuses connections"),
        ("http://charts.invalid", "the name charts.invalid cannot be resolved"),
    ],
)
def test_a_service_out_of_reach_is_asked_once_and_named(
    url: str, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    point_services(url, monkeypatch)
    assert main(["probe", "yahoo", "--json"]) == 3
    output = capsys.readouterr()
    assert json.loads(output.out)["requests"] == 1
    assert output.err.startswith(f"tapedeck: yahoo cannot be asked: {reason}")
    assert output.err.count("\n") == 1


def test_answers_of_an_earlier_probe_are_not_mixed_with_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    point_services(f"http://{NOWHERE}", monkeypatch)
    keep = ["--keep", str(tmp_path / "kept")]
    assert main(["probe", "yahoo", *keep]) == 3
    assert main(["probe", "yahoo", *keep]) == 2
    assert "has the answers of an earlier probe; name another folder" in capsys.readouterr().err


def test_without_a_network_two_venues_are_tried_and_one_line_names_the_host(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in VENUES:
        monkeypatch.setenv(f"TAPEDECK__VENUES__{name.upper()}__URL", f"ws://{name}.invalid")
        monkeypatch.setenv(f"TAPEDECK__VENUES__{name.upper()}__REST_URL", f"http://{name}.invalid")
    point_services("http://service.invalid", monkeypatch)
    assert main(["probe"]) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert "the name binance.invalid cannot be resolved" in output.err
    assert "8 more venues are not asked" in output.err


def test_an_unknown_venue_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "krakn"]) == 2
    assert "did you mean kraken?" in capsys.readouterr().err


def test_the_list_shows_every_question_and_asks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--list", "--json"]) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["venue"] for report in reports] == list(QUESTIONNAIRES)
    assert all(report["requests"] == 0 for report in reports)
    kraken = next(report for report in reports if report["venue"] == "kraken")
    assert {"question": "forced-age", "state": "not asked", "seen": "a day"}.items() <= kraken["lines"][-3].items()
    assert main(["probe", "kraken", "--list"]) == 0
    assert "not asked: needs a day" in " ".join(capsys.readouterr().out.split())


def test_kept_answers_are_a_capture_that_decode_reads(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "kept"
    with probed("binance", home, monkeypatch):
        answers = ask("binance", capsys, "--keep", str(folder))
    kept = folder / "binance"
    assert answers.report["kept"] == str(kept)
    frames = (kept / "probe.jsonl").read_bytes().splitlines()
    assert len(frames) == len((kept / "probe.recv_ts.txt").read_text().split())
    exchanges = [json.loads(line) for line in (kept / "probe.rest.jsonl").read_text().splitlines()]
    assert len(exchanges) == answers.report["requests"]
    assert {(one["method"], one["status"]) for one in exchanges} == {("GET", 200)}
    assert json.loads((kept / "metadata.json").read_text())["probe.jsonl"]["venue"] == "binance"
    assert main(["decode", "binance", str(kept / "probe.jsonl")]) == 0
    summary = json.loads(capsys.readouterr().err)
    assert summary["frames"] == len(frames)
    assert summary["quarantined"] == 0
    assert summary["rest_answers"]["read"] == 1  # the snapshot of the book


def test_questions_left_over_when_the_time_is_over_have_no_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def silent(_: socket.socket, end: threading.Event) -> None:
        end.wait(60)

    with rest_server(silent) as server:
        point_to("okx", f"ws://{NOWHERE}", server.url, monkeypatch)
        answers = ask("okx", capsys, "--timeout", "5")
    assert answers.code == 3
    assert set(answers.states.values()) == {"no answer"}
    assert answers.seen("page-limit") == "the time of the probe is over"
    assert answers.report["seconds"] < 10


def test_ctrl_c_is_quiet_and_keeps_what_came(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def silent(_: socket.socket, end: threading.Event) -> None:
        asked.set()
        end.wait(60)

    with rest_server(response(body=b'{"error":[],"result":{}}'), silent) as server:
        point_to("kraken", f"ws://{NOWHERE}", server.url, monkeypatch)
        process = subprocess.Popen(
            [str(TAPEDECK), "probe", "kraken"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert asked.wait(30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert (out, err) == ("", "")
    [folder] = (home / "probe").iterdir()
    assert len((folder / "kraken" / "probe.rest.jsonl").read_text().splitlines()) == 1
    assert (folder / "kraken" / "metadata.json").is_file()
