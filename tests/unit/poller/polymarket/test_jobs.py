"""The jobs of snapshots: one per tier, none in the same second as another, each over before its next slot."""

from pathlib import Path

from recorder.clock import ManualClock
from recorder.poller.job import Every
from recorder.poller.jobs import all_jobs
from recorder.settings import Settings

SETTINGS = '[venues.polymarket]\nenabled = true\nsymbols = ["1"]\n'


def test_every_tier_and_the_whales_have_a_job_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "tapedeck.toml"
    file.write_text(SETTINGS)
    jobs = {job.name: job for job in all_jobs(Settings.load(file, {}), ManualClock())}
    triggers = {
        name: job.trigger
        for name, job in jobs.items()
        if isinstance(job.trigger, Every) and ("-books-" in name or name == "polymarket-whales")
    }
    assert triggers == {
        "polymarket-books-t4": Every(15, 0),
        "polymarket-books-t3": Every(30, 3),
        "polymarket-books-t2": Every(60, 7),
        "polymarket-books-t1": Every(300, 11),
        "polymarket-books-t0": Every(3600, 19),
        "polymarket-whales": Every(30, 21),
    }
    assert all(0 < jobs[name].grace_s < trigger.period_s for name, trigger in triggers.items())
    seconds = [
        {second % 60 for second in range(trigger.offset_s, 3600 + trigger.offset_s, trigger.period_s)}
        for name, trigger in triggers.items()
        if "-books-" in name
    ]
    assert sum(len(one) for one in seconds) == len(set().union(*seconds))


def test_a_venue_that_is_off_has_no_jobs(tmp_path: Path) -> None:
    file = tmp_path / "tapedeck.toml"
    file.write_text(SETTINGS.replace("true", "false"))
    names = [job.name for job in all_jobs(Settings.load(file, {}), ManualClock())]
    assert not [name for name in names if name.startswith("polymarket")]
