"""A poller with a job of a test, as a process: `python -m support.poller.program JOB.json`."""

import json
import random
import sys
from pathlib import Path

from recorder.pgcopy import polled

COLUMNS: tuple[tuple[str, polled.Kind], ...] = (("n", "int8"), ("slot", "instant"), ("received", "instant"))
if __name__ == "__main__":
    polled.POLLED["polled_test"] = COLUMNS

from recorder.clock import SystemClock  # noqa: E402 - the journal's columns are those of POLLED when it is imported
from recorder.poller.job import Every, Job, Kept, Outcome, Round  # noqa: E402
from recorder.poller.main import run  # noqa: E402
from recorder.poller.services import ClientService, Services  # noqa: E402
from recorder.process.program import run as run_program  # noqa: E402
from recorder.process.threads import ThreadGroup  # noqa: E402
from recorder.rest.client import RestClient  # noqa: E402
from recorder.settings import Settings  # noqa: E402
from recorder.venues.base import RestLimits  # noqa: E402

TABLE = (
    "CREATE TABLE polled_test (n bigint, slot timestamptz, received timestamptz); GRANT ALL ON polled_test TO PUBLIC"
)


class Counting:
    """Asks for some numbers and stores each."""

    def __init__(self, requests: int) -> None:
        self._requests = requests

    def run(self, round: Round) -> Outcome:
        for _ in range(self._requests):
            self.take(round, round.get("numbers", "/n"))
        return Outcome()

    def take(self, round: Round, answer: Kept) -> None:
        round.store("polled_test", [(json.loads(answer.body)["n"], round.slot_ns, answer.received_ns)])


def main(settings: Settings) -> int:
    values = json.loads(Path(sys.argv[1]).read_text())
    threads = ThreadGroup()
    job = Job("numbers", Every(values["period_s"]), values["grace_s"], Counting(values["requests"]), "Count.")
    limits = RestLimits(per_s=1000, burst=1000, attempts=values.get("attempts", 1), failures_to_open=1000)
    clock = SystemClock()
    client = RestClient("numbers", values["url"], limits, "tapedeck-test", threads.stop, clock, random.Random(1))
    return run(settings, [job], Services({"numbers": ClientService(client)}), clock, threads)


if __name__ == "__main__":
    sys.exit(run_program("poller", main))
