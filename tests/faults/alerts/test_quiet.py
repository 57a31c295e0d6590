"""Nothing fires while nothing is wrong: the demo as it is, and the demo with markets that hardly move.

QUIET_MINUTES changes how long each is watched.
"""

import os
import time
from pathlib import Path

import pytest
from support.alerts.appliance import AlertedAppliance
from support.machine.message_sinks import webhook_sink

MINUTES = float(os.environ.get("QUIET_MINUTES", "30"))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("per_s", [None, 0.05], ids=["the demo", "markets that hardly move"])
def test_quiet_minutes_fire_nothing(per_s: float | None, tmp_path: Path) -> None:
    with webhook_sink() as sink:
        appliance = AlertedAppliance(tmp_path, sink.url, sections={"alerts": {"least": "info"}})
        with appliance:
            if per_s is not None:
                for venue in appliance.settings.simulator.venues:
                    appliance.do(venue, "rate", per_s=per_s)
            until_s = time.monotonic() + MINUTES * 60
            appliance.wait("the time passes", lambda: time.monotonic() >= until_s, MINUTES * 60 + 60)
            fired = [body["text"] for body in sink.bodies()]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{MINUTES:g} quiet minutes: {len(fired)} messages; load average {load} on {os.cpu_count()} cores")
    assert fired == []
