"""Venues that fall silent, refuse connections or burst, and the exact effect on the recording."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support.fault_rig import SYMBOLS, Rig

from recorder.truth import Opened, read_truth

MakeRig = Callable[..., Rig]


def threads(rig: Rig) -> dict[str, int]:
    """Return the number of threads of each recorder."""
    return {name: len(list(Path(f"/proc/{rig.processes[name].pid}/task").iterdir())) for name in rig.recorders}


def sessions(rig: Rig, recorder: str) -> int:
    """Return how often the link of a recorder has connected."""
    return int(rig.metrics(recorder)["links"][0]["sessions"])


def all_live_again(rig: Rig, reconnects: int) -> bool:
    """Return whether each recorder's link is live again after that many reconnects."""
    links = [link for name in rig.recorders for link in rig.metrics(name)["links"]]
    return all(link["sessions"] == reconnects + 1 and link["state"] == "LIVE" for link in links)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("cycles", [pytest.param(1, id="short"), pytest.param(20, id="long", marks=pytest.mark.long)])
def test_half_open_connections_are_noticed_within_fifteen_seconds(
    cycles: int, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database).up()
    before = threads(rig)
    for cycle in range(1, cycles + 1):
        for venue in rig.venues:
            rig.do(venue, "half_open")
        began = time.monotonic()
        for name in rig.recorders:
            rig.wait(
                f"{name} noticed",
                lambda name=name, cycle=cycle: rig.log(name).count("reason=silent") == cycle,  # type: ignore[misc]
                15.0,
            )
        # The venue still counts the dead connection as a client, so only the recorders can tell.
        rig.wait("each link is live again", partial(all_live_again, rig, cycle))
        assert time.monotonic() - began < 20
        rig.wait("no gap goes on", lambda: not rig.gaps("ended_at IS NULL"))
    rig.prove()
    assert {gap["cause"] for gap in rig.gaps()} == {"disconnect"}
    assert threads(rig) == before


@pytest.mark.parametrize(
    "frozen_s", [pytest.param(2.5, id="short"), pytest.param(60, id="long", marks=pytest.mark.long)]
)
def test_a_connection_with_pongs_but_no_data_is_replaced_once_and_a_quiet_market_is_left_alone(
    frozen_s: float, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, settings={"websocket": {"max_no_data_s": 1.0}}).up()
    for venue in rig.venues:
        rig.do(venue, "freeze")
    for name in rig.recorders:
        rig.wait(
            "the silence is noticed",
            lambda name=name: "though the connection answers" in rig.log(name),  # type: ignore[misc]
            25.0,
        )
    rig.wait_subscribed()
    rig.pause(frozen_s)  # only snapshots arrive, which may be normal for this market
    assert [rig.log(name).count("link.up") for name in rig.recorders] == [2, 2]
    rig.prove()
    assert "silent" in {gap["cause"] for gap in rig.gaps()}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "events", [pytest.param(20_000, id="short"), pytest.param(400_000, id="long", marks=pytest.mark.long)]
)
def test_a_burst_loses_nothing(events: int, make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database).up()
    for venue in rig.venues:
        rig.do(venue, "burst", events=events)
    for market in [running.venue for running in rig.venues.values()]:
        rig.wait("the burst is over", lambda market=market: not market.burst, 300.0)  # type: ignore[misc]
    report = rig.prove(120.0)
    assert all(check.sent == check.stored for check in report.streams)
    assert rig.gaps() == []


def test_refused_handshakes_are_retried_and_the_venues_time_is_respected(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database).up()
    for venue in rig.venues:
        rig.do(venue, "refuse_handshake", status=503, times=3)
        rig.do(venue, "refuse_handshake", status=429, times=1, retry_after="3")
        rig.do(venue, "close")
    refused_ns: dict[str, int] = {}

    def all_refused() -> bool:
        for venue, running in rig.venues.items():
            if not running.venue.faults.rules:
                refused_ns.setdefault(venue, time.time_ns())
        return len(refused_ns) == len(rig.venues)

    rig.wait("all were refused", all_refused)
    rig.wait_subscribed()
    for venue in rig.venues:
        path = rig.venues[venue].truth_path
        assert path is not None
        opened_ns = [line.t for line in read_truth(path) if isinstance(line, Opened)][-1]
        assert 2.9 <= (opened_ns - refused_ns[venue]) / 1e9 < 8
        assert rig.log(f"recorder-{venue}").count("the venue answered HTTP 503") == 3
        assert rig.log(f"recorder-{venue}").count("the venue answered HTTP 429") == 1
    rig.prove()
    assert {gap["cause"] for gap in rig.gaps()} == {"disconnect"}


def test_a_recorder_waits_for_a_venue_that_is_down_at_its_start(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=["kraken"])
    rig.do("kraken", "refuse_handshake", status=503)
    rig.start("recorder-kraken")
    rig.start("writer")
    rig.wait("it was refused", lambda: rig.log("recorder-kraken").count("HTTP 503") >= 3)
    rig.do("kraken", "heal")
    rig.prove()
    assert SYMBOLS["kraken"][0] in str(rig.query("SELECT symbol FROM instrument"))
