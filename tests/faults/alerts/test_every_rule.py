"""Every rule is fired by a fault in a real appliance, arrives at a real sink, and is resolved.

ALERT_RULES=lineage,disk_full proves only these.
"""

import os
import statistics
from pathlib import Path

import pytest
from support.alerts.appliance import AlertedAppliance
from support.alerts.measuring import MEDIAN_S, Run, table
from support.alerts.proofs import SCENES, SERVICES, SETTINGS, VENUES, Bench, learn, proofs
from support.alerts.set_clock import SetClock
from support.machine.message_sinks import webhook_sink
from support.machine.small_disks import mounted

from recorder.watchdog.rules import RULES

CHOSEN = frozenset(os.environ.get("ALERT_RULES", "").replace(",", " ").split())


def test_every_rule_has_a_proof() -> None:
    """A new rule needs a line in tests/support/alerts/proofs.py."""
    rules = [proof.rule for proof in proofs()]
    assert sorted(rules) == sorted(rule.id for rule in RULES)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_rule_fires_arrives_and_is_resolved(tmp_path: Path) -> None:
    clock = SetClock(tmp_path)
    with (
        mounted(["-t", "tmpfs", "-o", "size=1g", "tmpfs"], tmp_path / "journals") as journals,
        webhook_sink() as sink,
    ):
        sections = {**SETTINGS, "journal": {**SETTINGS["journal"], "dir": str(journals / "own")}}
        appliance = AlertedAppliance(
            tmp_path, sink.url, venues=VENUES, services=SERVICES, sections=sections, environment=clock.environment
        )
        bench = Bench(appliance, journals, clock)
        learn(bench)
        with appliance:
            run = Run(bench, sink)
            for scene in SCENES:
                if chosen := [proof for proof in scene if not CHOSEN or proof.rule in CHOSEN]:
                    run.scene(chosen)
            run.end()
        print(f"\n{table(run.measured)}\n")
        for one in run.measured:
            print(f"{one.text}\n")
    assert not run.unexpected
    assert [one.proof.rule for one in run.measured if one.fired_s is None] == []
    late = {one.proof.rule: (one.fired_s, one.allowed_s) for one in run.measured if (one.fired_s or 0) > one.allowed_s}
    assert late == {}
    assert [one.proof.rule for one in run.measured if one.resolved_s is None] == []
    assert statistics.median([one.fired_s for one in run.measured if one.fired_s is not None]) < MEDIAN_S
