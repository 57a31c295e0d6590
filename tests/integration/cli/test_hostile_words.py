"""A hostile venue: whatever it lists, sends, refuses or says at the end is shown by every command and obeyed by none.

The commands run in a real terminal. Rich's own colours are the only escape sequences that may arrive there.
"""

import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.database_server import ROOT
from support.link_rig import Peer, Server
from support.misbehaving_rest import response, rest_server

from recorder.cli.appliance import _progress
from recorder.cli.status import gather
from recorder.process.health import HealthFile, LinkFailure, LinkFigures, RecorderFigures, Refusal

WORDS = "[/x][link=http://evil.test]\x1b]0;owned\x07\x1b[2J\u202egnp\u009b31m[red]"
ESCAPED = r"[/x][link=http://evil.test]\x1b]0;owned\x07\x1b[2J\u202egnp\x9b31m[red]"
IN_JSON = r"[/x][link=http://evil.test]\u001b]0;owned\u0007\u001b[2J\u202egnp\u009b31m[red]"
LINES = f"{WORDS}\x85\u2028\n2026-11-30T00:00:00Z ERROR forged.line"
NOW = "2026-11-30T12:00:00.000000Z"
pytestmark = pytest.mark.timeout(400)  # a busy machine starts thirty commands slowly
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
TAPEDECK = ROOT / ".venv" / "bin" / "tapedeck"


def product(symbol: str, **more: str) -> dict[str, object]:
    return {
        "id": symbol, "base_currency": "B" + WORDS, "quote_currency": "USD", "quote_increment": "0.01",
        "base_increment": "0.001", "status": "online", **more,
    }  # fmt: skip


PRODUCTS = [product(WORDS), product("A" + LINES), product("E", quote_increment="1E-20000"), product("B", status=LINES)]


def serve(peer: Peer) -> None:
    """Confirm the subscriptions, send data and rubbish, then refuse and close with hostile words."""
    while (request := peer.next())["type"] == "subscribe":
        peer.answer(request)
        if any("heartbeat" in str(channel) for channel in request["channels"]) or len(peer.requests) >= 3:
            break
    for number in range(3):
        trade = {
            "type": "match", "trade_id": 7 + number, "side": "buy", "size": "1", "price": "2", "product_id": WORDS,
            "time": NOW,
        }  # fmt: skip
        peer.send(json.dumps(trade).encode())
    peer.send(json.dumps({"type": "match", "product_id": LINES, "size": LINES}).encode())
    peer.send(json.dumps({"type": WORDS, "product_id": WORDS}).encode())
    peer.send(json.dumps({"type": "error", "message": f"Failed to subscribe {LINES}", "reason": LINES}).encode())
    peer.connection.close(1008, WORDS)


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    rest = response(body=json.dumps(PRODUCTS).encode())
    with Server(serve).running() as url, rest_server(rest) as server:
        config = tmp_path / "tapedeck.toml"
        config.write_text(f'[venues.coinbase]\nurl = "{url}"\nrest_url = "{server.url}"\nsymbols = ["X"]\n')
        names = ("TAPEDECK", "DATABASE_URL", "NO_COLOR", "COLUMNS")
        variables = {name: text for name, text in os.environ.items() if not name.startswith(names)}
        yield {
            **variables, "TAPEDECK_HOME": str(tmp_path / "home"), "TAPEDECK_CONFIG": str(config), "TERM": "xterm",
        }  # fmt: skip


def shown(environ: dict[str, str], *words: str) -> tuple[int, str]:
    """Run a command in a terminal and return its exit code and all that arrived there, without colours."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([TAPEDECK, *words], env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # Linux reports the end of the terminal's last user as an error
        pass
    os.close(ours)
    text = _COLOURS.sub("", seen.decode())
    assert harmless(text), repr(text)
    return process.wait(60), text.replace("\r\n", "\n")


def harmless(text: str) -> bool:
    """Whether only text, lines and the sequences of a progress bar are left."""
    rest = re.sub(r"\x1b\[(\?25[lh]|2K|1A)|\r", "", text)
    return all(line.isprintable() for line in rest.split("\n")) and not re.search("^2026-11-30T00", text, re.MULTILINE)


def joined(text: str) -> str:
    """Return a table's text without the breaks inside of its cells."""
    return "".join(text.split())


def test_commands_about_the_venue_show_its_words(environ: dict[str, str], tmp_path: Path) -> None:
    code, text = shown({**environ, "COLUMNS": "900"}, "symbols", "coinbase")
    assert (code, "4 of 4 instruments" in text) == (0, True)
    assert ESCAPED in text
    assert r"\x85\u2028\n2026-11-30T00:00:00Z" in text
    code, text = shown(environ, "symbols", "coinbase", "--json")
    assert (code, IN_JSON in text) == (0, True)
    assert next(json.loads(line)["symbol"] for line in text.splitlines() if line.startswith("{")) == WORDS
    code, text = shown(environ, "subscribe", "coinbase", "NOPE")
    assert (code, "does not list the symbol" in text) == (2, True)
    assert shown(environ, "venues")[0] == 0
    assert shown(environ, "settings")[0] == 0
    code, text = shown(environ, "test", "coinbase", "*")
    assert "coinbase refuses: " in text or "trade of" in text
    assert r"\u202e" in text
    assert code in (0, 2)


def test_a_recording_and_its_replay_show_the_words(environ: dict[str, str], tmp_path: Path, database: str) -> None:
    tape = tmp_path / "tape"
    code, text = shown(environ, "record", "coinbase", "*", "--seconds", "4", "--into", str(tape))
    assert (code, f"trade {ESCAPED} 2.0 x 1.0" in text) == (0, True), text
    log = (tape / "recorder.log").read_text()
    assert harmless(log)
    assert "link.down" in log
    assert r"\u202e" in log
    code, text = shown(environ, "record", "coinbase", "*", "--seconds", "4", "--json", "--into", str(tmp_path / "two"))
    assert (code, IN_JSON in text) == (0, True)
    journal = {**environ, "TAPEDECK__JOURNAL__DIR": str(tape), "DATABASE_URL": database}
    code, text = shown(journal, "replay")
    assert (code, "quarantined when recorded" in text) == (0, True)
    assert r"\u202e" in text or "the adapter makes the same rows" in text
    assert shown(journal, "verify")[0] in (0, 1)


def test_subscriptions_in_the_database_show_the_words(environ: dict[str, str], database: str) -> None:
    stored = {**environ, "DATABASE_URL": database, "COLUMNS": "200"}
    code, text = shown(stored, "subscribe", "coinbase", WORDS, "--channel", "trade")
    assert (code, "1 of 1 streams changed" in text) == (0, True), text
    code, text = shown(stored, "subscriptions")
    assert (code, r"\x1b" in joined(text) or "[/x][lin..." in text) == (0, True)
    assert IN_JSON in shown(stored, "subscriptions", "--json")[1]
    code, text = shown(stored, "unsubscribe", "coinbase", f"{WORDS}2")
    assert (code, "has no subscription" in text) == (2, True)
    assert shown(stored, "unsubscribe", "coinbase", WORDS)[0] == 0


def test_a_file_of_frames_is_decoded_without_obeying_it(environ: dict[str, str], tmp_path: Path) -> None:
    frames = tmp_path / f"frames{WORDS.replace('/', '')}.jsonl"
    trade = {"type": "match", "trade_id": 7, "side": "buy", "size": "1", "price": "2", "product_id": WORDS, "time": NOW}
    rubbish = {"type": LINES, "product_id": LINES}
    frames.write_text("\n".join(map(json.dumps, (trade, rubbish, {**trade, "size": LINES}))))
    code, text = shown(environ, "decode", "coinbase", str(frames))
    assert (code, IN_JSON in text) == (0, True)
    code, text = shown(environ, "decode", "coinbase", f"{frames}2")
    assert (code, "there is no file" in text) == (2, True)
    frames.write_text(json.dumps(rubbish))
    code, text = shown(environ, "decode", "coinbase", str(frames))
    assert (code, "could be decoded" in text) == (1, True)


def test_logs_are_shown_without_obeying_them(environ: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "home" / "log"
    folder.mkdir(parents=True)
    (folder / "postgres.log").write_text(f"STATEMENT: INSERT '{WORDS}'\nend\n")
    code, text = shown(environ, "logs", "--no-follow")
    assert (code, text) == (0, f"STATEMENT: INSERT '{ESCAPED}'\nend\n")


def test_status_and_the_words_of_a_start_show_what_a_recorder_reports(
    environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from recorder.appliance.supervisor import Process
    from recorder.cli import status
    from recorder.cli.common import console
    from recorder.settings import Settings

    failure = LinkFailure(LINES, 1.0)
    figures = RecorderFigures(
        links=[LinkFigures(state=WORDS, last_error=failure)], refused=1, refusals=[Refusal(f"trade {WORDS}", LINES)],
        silent=[f"trade {WORDS}"], last_error=failure,
    )  # fmt: skip
    settings = Settings.load(Path(environ["TAPEDECK_CONFIG"]), {"TAPEDECK_HOME": str(tmp_path / "home")})
    HealthFile(settings.home, "recorder-coinbase").write("degraded", f"silent: trade {LINES}", figures)
    found = [Process("recorder-coinbase", "RUNNING", os.getpid(), 0, 90.0)]
    current = gather(settings, found)
    status.show(current, console())
    for line in current.programs:
        console().say(f"  {line.program:<20} {_progress(line)}")
    text = capsys.readouterr().out
    assert harmless(text)
    assert joined(text).count(joined(ESCAPED)) >= 4
