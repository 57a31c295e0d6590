"""The commands of `tapedeck-analysis`: output and exit code."""

import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support.analysis.market_data import ROOT
from support.analysis.stored_tape import BEGIN, DAYS, END, MIDNIGHT, Stored

from analysis import feature_tables, load
from analysis.cli import main
from analysis.load.manifest import digest

DAY = ["--start", str(DAYS[0]), "--end", str(DAYS[1] + timedelta(days=1))]
SPAN = ["--start", f"{BEGIN:%Y-%m-%dT%H:%M}", "--end", f"{END:%Y-%m-%dT%H:%M}"]

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def settings(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.setenv("DATABASE_URL", stored.url)
    return stored


def test_every_command_explains_itself_with_an_example(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for command in ("export", "bars", "features", "audit"):
        assert command in listed
        assert main([command, "--help"]) == 0
        assert f"Example: tapedeck-analysis {command}" in capsys.readouterr().out


def test_days_are_exported_verified_and_then_unchanged(settings: Stored, tmp_path: Path, capsys: Capture) -> None:
    command = ["export", "kraken", "okx", "--to", str(tmp_path), *DAY, "--verify"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.count("written") == 4
    assert "every file matches its manifest" in printed
    assert main(command) == 0
    assert capsys.readouterr().out.count("unchanged") == 4
    path = next(tmp_path.glob("trade/venue=okx/*/*.parquet"))
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    assert main(command) == 1
    printed_both = capsys.readouterr()
    assert "verification FAILED" in printed_both.out
    assert "SHA-256 differs" in printed_both.err


def test_bars_are_printed_or_written_from_database_and_archive_alike(
    settings: Stored, archive: Path, capsys: Capture
) -> None:
    assert main(["bars", "kraken", "BTC/USD", *SPAN, "-t", "1h"]) == 0
    mine = capsys.readouterr().out
    assert main(["bars", "kraken", "BTC/USD", *SPAN, "-t", "1h", "--from", str(archive)]) == 0
    assert capsys.readouterr().out == mine
    assert "2023-11-15 22:00:00" in mine
    out = archive / "bars" / "btc.parquet"
    assert main(["bars", "kraken", "BTC/USD", *SPAN, "--from", str(archive), "--out", str(out)]) == 0
    assert pq.read_table(out).num_rows == load.bars("kraken", "BTC/USD", BEGIN, END, source=archive).num_rows


def test_a_gap_ends_a_command_with_1_and_a_mistake_with_2(settings: Stored, capsys: Capture) -> None:
    settings.gap("kraken", "BTC/USD", 1)
    assert main(["bars", "kraken", "BTC/USD", *SPAN]) == 1
    assert "may be incomplete" in capsys.readouterr().err
    assert main(["bars", "kraken", "BTC/USD", *SPAN, "--on-gap", "mask", "-t", "1h"]) == 0
    assert "True" in capsys.readouterr().out
    for wrong in (["bars", "kraken", "XBT", *SPAN], ["bars", "kraken", "BTC/USD", "--start", "soon", "--end", "now"]):
        assert main(wrong) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_features_are_written_and_their_audit_passes(settings: Stored, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "features.parquet"
    start = f"{MIDNIGHT + timedelta(minutes=30):%Y-%m-%dT%H:%M}"
    command = ["features", "kraken", "BTC/USD", "--start", start, "--end", SPAN[3], "--every", "600"]
    assert main([*command, "--out", str(out), "--other", "okx:BTC-USDT", "--leader", "okx:BTC-USDT"]) == 0
    table = pq.read_table(out)
    assert (table.num_rows, len(table.schema.names)) == (9, 3 + 65)
    assert table["ts"][0].as_py() == MIDNIGHT + timedelta(minutes=30)
    assert table["ret_5"].null_count < 9
    assert table["ret_240"].null_count == 9  # the recording had not begun four hours before
    assert table["gap_share_60"].null_count == 0
    capsys.readouterr()
    assert main(["audit", str(out), "--times", "4"]) == 0
    printed = capsys.readouterr().out
    assert "recomputation" in printed
    assert "truncation" in printed
    assert "always null, so nothing is proven: " in printed


def test_an_audit_names_the_feature_that_is_not_what_was_published(
    settings: Stored, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "features.parquet"
    start = f"{MIDNIGHT:%Y-%m-%dT%H:%M}"
    span = ["--start", start, "--end", SPAN[3], "--every", "1800"]
    assert main(["features", "kraken", "BTC/USD", *span, "--out", str(out)]) == 0
    table = pq.read_table(out)
    place = table.schema.get_field_index("ret_5")
    wrong = pc.add(table["ret_5"], pa.scalar(0.001))
    pq.write_table(table.set_column(place, "ret_5", wrong), out)
    assert main(["audit", str(out), "--times", "1"]) == 1
    assert "SHA-256 differs" in capsys.readouterr().err
    manifest = msgspec.json.decode(feature_tables.manifest_path(out).read_bytes(), type=feature_tables.FeatureManifest)
    forged = msgspec.structs.replace(manifest, sha256=digest(out))
    feature_tables.manifest_path(out).write_bytes(msgspec.json.encode(forged))
    assert main(["audit", str(out), "--times", "1"]) == 1
    assert "ret_5 " in capsys.readouterr().out


def test_an_audit_lists_the_features_about_which_it_proves_nothing(settings: Stored, capsys: Capture) -> None:
    early = ["--start", "2023-11-01T00:00", "--end", "2023-11-01T01:00"]
    assert main(["audit", "--of", "kraken:BTC/USD", *early, "--set", "snapshots", "--times", "2"]) == 0
    unproven = capsys.readouterr().out.partition("always null, so nothing is proven: ")[2].split(", ")
    assert "spread" in unproven
    assert "hour_sin" not in unproven
    assert main(["audit", "--of", "kraken", *early]) == 2
    assert main(["audit"]) == 2


def test_a_missing_package_is_named_in_one_sentence() -> None:
    program = (
        "import sys; sys.modules['pyarrow'] = None; from analysis.cli import main;"
        "sys.exit(main(['bars', 'kraken', 'BTC/USD', '--start', '2026-03-01', '--end', '2026-03-02']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "tapedeck-analysis: analysis.load needs the package pyarrow, which is not installed: run `make analysis`\n"
    )


def test_a_range_of_no_day_is_refused_with_the_words_for_one_day(
    settings: Stored, tmp_path: Path, capsys: Capture
) -> None:
    day = str(DAYS[0])
    assert main(["export", "kraken", "--to", str(tmp_path), "--start", day, "--end", day]) == 2
    assert f"--end is exclusive, so --start {day} --end {day} holds no day" in (said := capsys.readouterr().err)
    assert f"write: --start {day} --end {DAYS[1]}\n" in said
    today = str(datetime.now(UTC).date())
    assert main(["export", "kraken", "--to", str(tmp_path), "--start", today, "--end", today]) == 2
    assert capsys.readouterr().err.endswith("--open-day\n")
    assert main(["export", "kraken", "--to", str(tmp_path), "--start", str(DAYS[1]), "--end", day]) == 2
    assert not any(tmp_path.iterdir())


def test_h_is_help_everywhere_and_shells_can_complete(capsys: Capture) -> None:
    for words in (["-h"], ["export", "-h"], ["train", "-h"]):
        assert main(words) == 0
        assert "Usage" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["--show-completion", "bash"])
    assert ended.value.code == 0
    assert "TAPEDECK_ANALYSIS" in capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80])
def test_a_table_is_not_cut_on_a_narrow_terminal(width: int, settings: Stored) -> None:
    words = ["bars", "kraken", "BTC/USD", *SPAN, "-t", "1h"]
    shown = in_a_terminal(words, width)
    for head in ("open", "high", "low", "close", "volume", "vwap", "trade_count", "coverage", "2023-11-15 22:00:00"):
        assert head in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width


def in_a_terminal(words: list[str], width: int, *, keep_progress: bool = False) -> str:
    """Run the program in a pseudo-terminal of a given width, and return its lines without overwritten text."""
    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "xterm", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "analysis", *words]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=child, stderr=child, close_fds=True) as process:
        os.close(child)
        shown = b""
        with suppress(OSError):  # reading fails when the last writer has closed the terminal
            while part := os.read(parent, 65536):
                shown += part
        os.close(parent)
        assert process.wait(60) == 0, shown.decode()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r\n", "\n")
    if keep_progress:
        return text
    return "\n".join(line.rpartition("\r")[2].rstrip() for line in text.split("\n"))


def test_ctrl_c_during_the_imports_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import sys\nprint('importing', flush=True)\nsys.stdin.read()\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from analysis.__main__ import main; sys.exit(main())"],
        cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")


def test_an_export_in_a_pipe_prints_rows_and_no_progress(settings: Stored, tmp_path: Path, capsys: Capture) -> None:
    assert main(["export", "kraken", "--to", str(tmp_path), *DAY]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 3
    assert printed.err == ""


def test_an_export_in_a_terminal_shows_its_progress(settings: Stored, tmp_path: Path) -> None:
    assert (
        "kraken 2023-11-1" in in_a_terminal(["export", "kraken", "--to", str(tmp_path), *DAY], 80).split("written")[0]
    )
