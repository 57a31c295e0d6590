"""The pages of the watchdog answer at once while Postgres hangs. Run it alone: the limit is 50 ms."""

import signal
import statistics
import time
import urllib.request
from pathlib import Path

import pytest
from support.alerts.appliance import AlertedAppliance
from support.machine.message_sinks import webhook_sink

LIMIT_S = 0.05
_ASKED = 200


@pytest.mark.long
@pytest.mark.timeout(300)
def test_pages_answer_within_50_ms_while_postgres_hangs(tmp_path: Path) -> None:
    with (
        webhook_sink() as sink,
        AlertedAppliance(tmp_path, sink.url, venues=("coinbase", "kraken"), services=("gamma",)) as appliance,
    ):
        appliance.signal("postgres", signal.SIGSTOP)

        def fired() -> bool:
            return any(body["rule"] == "database_hung" for body in sink.bodies())

        appliance.wait("the alert arrives", fired, 60.0)
        medians = {}
        for path in ("/health", "/critical", "/metrics"):
            took_s = []
            for _ in range(_ASKED):
                began_s = time.monotonic()
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{appliance.settings.watchdog.port}{path}", timeout=5
                ) as reply:
                    reply.read()
                took_s.append(time.monotonic() - began_s)
            medians[path] = statistics.median(took_s)
            print(f"{path}: median {medians[path] * 1000:.1f} ms, longest {max(took_s) * 1000:.1f} ms of {_ASKED}")
        appliance.signal("postgres", signal.SIGCONT)
    assert all(took_s < LIMIT_S for took_s in medians.values()), medians
