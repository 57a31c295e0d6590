"""The recorder as a program: its settings hold patterns, and there is neither a database nor a list on disk."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.database_server import ROOT

from recorder.appliance.processes import wait_until
from recorder.events import Stream
from recorder.instruments.catalog import Catalog, CatalogFile
from recorder.instruments.patterns import SymbolSelector, Wanted
from recorder.instruments.subscriptions import Cache
from recorder.process.health import RecorderFigures, read_all
from recorder.simulator.running import running
from recorder.venues.base import Listing


@contextmanager
def recorder(home: Path, venue: str = "kraken", **environ: str) -> Iterator["subprocess.Popen[str]"]:
    environment = {
        **os.environ, "TAPEDECK_HOME": str(home), "TAPEDECK_CONFIG": "demo", "DATABASE_URL": "", **environ,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "bin" / "recorder"), venue], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    finally:
        process.kill()
        process.communicate()


def streams(home: Path) -> int:
    report = read_all(home).get("recorder-kraken")
    figures = report.figures if report else None
    return sum(link.streams for link in figures.links) if isinstance(figures, RecorderFigures) else 0


def test_a_recorder_without_a_list_asks_the_venue_itself(tmp_path: Path) -> None:
    with running("kraken", truth=tmp_path / "truth.jsonl", rate=50) as venue:
        wanted = sum(symbol.endswith("/USD") for symbol in venue.venue.symbols)
        own = {
            "TAPEDECK__VENUES__KRAKEN__URL": venue.url,
            "TAPEDECK__VENUES__KRAKEN__REST_URL": venue.rest_url,
            "TAPEDECK__VENUES__KRAKEN__SYMBOLS": "*/USD",
        }
        with recorder(tmp_path, **own):
            assert wait_until(lambda: streams(tmp_path) == 3 * wanted, 60.0)
    assert (tmp_path / "listings" / "kraken.json").is_file()
    assert 1 < wanted < len(venue.venue.symbols)


def test_a_recorder_follows_the_list_that_discovery_keeps(tmp_path: Path) -> None:
    with running("kraken", truth=tmp_path / "truth.jsonl", rate=50) as venue:
        row = Listing("ETH/USD", "ETH", "USD", "spot", None, None, "online")
        CatalogFile(tmp_path, "kraken", venue.rest_url).write(Catalog(venue.rest_url, 2**62, [row]))
        own = {
            "TAPEDECK__VENUES__KRAKEN__URL": venue.url,
            "TAPEDECK__VENUES__KRAKEN__REST_URL": venue.rest_url,
            "TAPEDECK__VENUES__KRAKEN__SYMBOLS": "*/USD",
        }
        with recorder(tmp_path, **own):
            assert wait_until(lambda: streams(tmp_path) == 3, 60.0)


def test_a_pattern_that_cannot_be_parsed_ends_the_recorder_with_a_sentence_and_2(tmp_path: Path) -> None:
    with recorder(tmp_path, TAPEDECK__VENUES__KRAKEN__SYMBOLS="BTC/USD,top:many") as process:
        assert process.wait(30) == 2
        assert process.stderr is not None
        assert "write top:20" in process.stderr.read()


def test_streams_that_the_poller_chose_and_the_venue_refuses_are_counted_apart(tmp_path: Path) -> None:
    """A market that ends, or has no stream, is no fault that an operator could mend."""
    with running("kraken", truth=tmp_path / "truth.jsonl", rate=50) as venue:
        own = {"TAPEDECK__VENUES__KRAKEN__URL": venue.url, "TAPEDECK__VENUES__KRAKEN__REST_URL": venue.rest_url}
        by_hand, chosen = Stream("trade", next(iter(venue.venue.symbols))), Stream("trade", "NOPE/USD")
        wanted = Wanted(
            (SymbolSelector(by_hand.symbol, ("trade",)), SymbolSelector(chosen.symbol, ("trade",), -1, "poller"))
        )
        Cache(tmp_path / "subscriptions" / "tapedeck_demo-kraken.json").write([by_hand, chosen], wanted)
        with recorder(tmp_path, **own):

            def figures() -> RecorderFigures | None:
                report = read_all(tmp_path).get("recorder-kraken")
                return report.figures if report and isinstance(report.figures, RecorderFigures) else None

            assert wait_until(lambda: (found := figures()) is not None and found.followed_refused == 1, 60.0)
            report = read_all(tmp_path)["recorder-kraken"]
            assert (report.state, report.detail) == ("live", "streams that the poller chose and that bring nothing: 1")
            found = figures()
            assert found is not None
            assert (found.refused, found.refusals) == (0, [])


def test_a_recorder_is_live_while_streams_that_the_poller_chose_get_no_answer(tmp_path: Path) -> None:
    """A market may end while the appliance is stopped; the venue answers nothing to its tokens."""
    with running("polymarket", truth=tmp_path / "truth.jsonl", rate=50) as venue:
        own = {
            "TAPEDECK__VENUES__POLYMARKET__URL": venue.url,
            "TAPEDECK__VENUES__POLYMARKET__REST_URL": venue.rest_url,
        }
        by_hand = Stream("book", next(iter(venue.venue.symbols)))
        ended = [Stream("book", str(number) * 70) for number in (1, 2, 3)]
        chosen = tuple(SymbolSelector(one.symbol, ("book",), -1, "poller") for one in ended)
        wanted = Wanted((SymbolSelector(by_hand.symbol, ("book",)), *chosen))
        Cache(tmp_path / "subscriptions" / "tapedeck_demo-polymarket.json").write([by_hand, *ended], wanted)
        with recorder(tmp_path, "polymarket", **own):

            def is_live() -> bool:
                report = read_all(tmp_path).get("recorder-polymarket")
                return report is not None and report.state == "live"

            assert wait_until(is_live, 60.0)
            found = read_all(tmp_path)["recorder-polymarket"]
            assert isinstance(found.figures, RecorderFigures)
            assert found.figures.followed_refused == 0, "it did not wait until their silence was a refusal"
            assert [link.streams for link in found.figures.links] == [4]
