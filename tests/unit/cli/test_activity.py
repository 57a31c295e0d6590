"""`tapedeck status --trades`: what fits into a terminal, and what is unknown."""

from pathlib import Path

import pytest

from recorder.cli.activity import current, view
from recorder.process.health import HealthFile, WatchdogFigures
from recorder.process.screen import Screen
from recorder.watchdog.activity.figures import (
    Activity,
    InstrumentTrades,
    TradeFigures,
    VenueTrades,
    VenueTraffic,
    write_activity,
)

NOW = 1_800_000_000.0
TRAFFIC = [VenueTraffic("coinbase_advanced", 1_234.5, 1, 2, 0.2), VenueTraffic("kraken", 0.0, 0, 0, None)]


def traded(symbol: str, *, trades: int = 12_345) -> InstrumentTrades:
    return InstrumentTrades(
        "coinbase_advanced", symbol, trades, 65_123.456789, 65_200.5, 65_000.25, 12.5, 8.0, 4.5, 3, NOW - 70
    )


def lines(activity: Activity, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    Screen(stderr=False, plain_width=width).print(view(activity, width, NOW))
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80, 140])
def test_what_matters_most_fits_into_a_narrow_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trades = TradeFigures(
        NOW - 60, NOW, [VenueTrades("coinbase_advanced", 24_690, 6, 40)], [traded("BTC-USD"), traded("9" * 77)]
    )
    text = lines(Activity(60.0, TRAFFIC, trades), width, capsys, monkeypatch)
    assert max(map(len, text.splitlines())) <= width
    assert "65123.457" in text
    assert ("65200.5" in text) == (width > 60)
    assert "24,690" in text
    assert "9" * 22 + ".." in text
    assert "38 more instruments" in " ".join(text.split())
    assert "2027-01-15 08:00:00 UTC" in " ".join(text.split())


def test_words_of_a_venue_are_shown_and_not_obeyed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trades = TradeFigures(NOW - 60, NOW, [], [traded("\x1b]0;x\x07[red]")])
    text = lines(Activity(60.0, TRAFFIC, trades), 140, capsys, monkeypatch)
    assert r"\x1b]0;x\x07[red]" in text
    assert "\x1b]" not in text


def test_what_is_unknown_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> str:
        return lines(current(tmp_path, 0.0), 80, capsys, monkeypatch)

    assert "unknown: the watchdog, which computes them, does not run" in said()
    HealthFile(tmp_path, "watchdog").write("live", "", WatchdogFigures())
    assert "unknown: the watchdog has not computed them yet" in said()
    write_activity(tmp_path, Activity(60.0, TRAFFIC, None, "Postgres is down: connection refused"))
    text = said()
    assert "trades: unknown: Postgres is down: connection refused" in text
    assert "coinbase_advanced" in text, "the traffic is known without Postgres"
