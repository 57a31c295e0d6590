"""How long streams were wanted and recorded, and which alerts fire, as metrics."""

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.watchdog import LIMITS, NOW, evidence, recorder, report

from recorder.appliance.supervisor import Process
from recorder.process.health import LinkFigures, RecorderFigures
from recorder.watchdog.alerts import Held
from recorder.watchdog.evidence import Evidence
from recorder.watchdog.pages import metrics
from recorder.watchdog.pages.samples import Own
from recorder.watchdog.totals import StreamSeconds, Totals

NORTH = "recorder-north"
DOWN = LinkFigures(state="BACKOFF", streams=4)
LIVE = LinkFigures(state="LIVE", streams=2)


def counted(*rounds: Evidence, passed_s: float = 5.0) -> tuple[float, float]:
    """Return the stream-seconds of venue north that were wanted, and those that were recorded."""
    seconds = StreamSeconds()
    for given in rounds:
        seconds.add(given, passed_s)
    return seconds.wanted["north"], seconds.recorded["north"]


def north(figures: RecorderFigures, age_s: float = 0.5) -> Evidence:
    return evidence(reports={NORTH: report(NORTH, figures, age_s=age_s)})


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        (recorder(), (15, 15)),
        (recorder(open_gaps=1), (15, 15)),  # it waits for the next trade of a quiet market
        (recorder(open_gaps=1, silent=["trade BTC-USD"]), (15, 10)),
        (recorder(open_gaps=3, looping=2), (15, 5)),
        (recorder(links=[DOWN]), (20, 20)),  # another connection carries the streams meanwhile
        (recorder(links=[DOWN], open_gaps=4), (20, 0)),
        (recorder(links=[DOWN], open_gaps=99), (20, 0)),
        (recorder(links=[DOWN, LIVE], open_gaps=4), (30, 10)),
        (recorder(links=[DOWN, LIVE], open_gaps=6), (30, 10)),
        (recorder(links=[DOWN], refused=1, followed_refused=1, open_gaps=4), (10, 0)),
        (recorder(links=[DOWN], refused=1, open_gaps=1), (15, 15)),
        (recorder(links=[DOWN], unplaced=2, open_gaps=2), (20, 20)),
        (recorder(refused=99), (0, 0)),
        (RecorderFigures(), (0, 0)),
    ],
)
def test_what_is_lost_is_not_recorded_and_what_cannot_be_had_is_not_wanted(
    figures: RecorderFigures, expected: tuple[float, float]
) -> None:
    assert counted(north(figures)) == expected


def test_a_recorder_that_does_not_report_records_nothing_and_wants_what_it_wanted() -> None:
    well = north(recorder())
    assert counted(well, north(recorder(), age_s=60)) == (30, 15)
    assert counted(well, evidence(processes={NORTH: Process(NORTH, "RUNNING", 8, 0, 1.0)})) == (30, 15)
    assert counted(well, evidence(reports={NORTH: None})) == (30, 15)
    assert counted(well, well, passed_s=0.0) == (0, 0)


def test_shards_of_a_venue_add_up() -> None:
    names = ("recorder-north-00", "recorder-north-01")
    shards = evidence(
        reports={NORTH: None, **{name: report(name, recorder(open_gaps=1, looping=1)) for name in names}},
        processes={NORTH: None, **{name: Process(name, "RUNNING", 7, 0, 900.0) for name in names}},
    )
    lines = zip(shards.status.programs, names, strict=False)
    listed = [msgspec.structs.replace(line, program=name) for line, name in lines]
    status = msgspec.structs.replace(shards.status, programs=listed)
    assert counted(msgspec.structs.replace(shards, status=status)) == (30, 20)


def page(totals: Totals, own: Own, started_at: float, held: list[Held] | None = None) -> dict[str, float]:
    text = metrics.render(evidence(), totals, held or [], LIMITS, own, started_at).decode()
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_stream_seconds_continue_over_a_restart_of_the_watchdog() -> None:
    totals = Totals()
    first = page(totals, Own(1, 0.1, 0, {}, {}, {"north": 90.0}, {"north": 60.5}), NOW)
    assert first["tapedeck_venue_wanted_stream_seconds_total north"] == 90
    assert first["tapedeck_venue_recorded_stream_seconds_total south"] == 0
    again = page(Totals(totals.kept), Own(1, 0.1, 0, {}, {}, {"north": 10.0}, {"north": 10.0}), NOW + 60)
    assert again["tapedeck_venue_wanted_stream_seconds_total north"] == 100
    assert again["tapedeck_venue_recorded_stream_seconds_total north"] == 70.5
    before_the_first_round = page(Totals(totals.kept), Own(0, 0.0, 0, {}), NOW + 120)
    assert before_the_first_round["tapedeck_venue_wanted_stream_seconds_total north"] == 100


def test_an_alert_that_fires_has_its_venue() -> None:
    held = [
        Held("venue_no_data", "north", "", None, NOW, alert_id=1),
        Held("program_down", "recorder-south", "", None, NOW, alert_id=2),
        Held("program_down", "writer", "", None, NOW, alert_id=3),
        Held("database_down", "", "", None, NOW),
    ]
    shown = page(Totals(), Own(1, 0.1, 0, {}), NOW, held)
    prefix = "tapedeck_alert_firing "
    firing = {name.removeprefix(prefix) for name in shown if name.startswith(prefix)}
    assert firing == {
        "venue_no_data page north north", "program_down page recorder-south south", "program_down page writer ",
    }  # fmt: skip
