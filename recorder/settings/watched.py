"""The groups of settings of the watchdog: types, units, defaults and meanings."""

from pydantic import Field

from recorder import portmap
from recorder.settings.groups import Group, Port


class RuleSettings(Group):
    """What is different for one rule."""

    enabled: bool = Field(True, description="Whether the rule is judged")
    threshold: float | None = Field(None, description="Its limit, in the unit of the rule; unset: its own")
    for_s: float | None = Field(
        None, ge=0, le=604_800, description="How long its condition must hold before it fires; unset: its own"
    )


class WatchdogSettings(Group):
    """The program that judges all others, answers /health, /critical and /metrics on loopback, and keeps the alerts."""

    enabled: bool = Field(True, description="Start it with the appliance")
    port: Port = Field(
        portmap.number(portmap.DEFAULT_BASE, portmap.WATCHDOG),
        description=f"TCP port on 127.0.0.1: 8080, and with another port_base that + {portmap.WATCHDOG}",
    )
    every_s: float = Field(5.0, ge=0.2, le=60, description="Time between two rounds of evidence")
    disk_warn_percent: float = Field(90, gt=0, le=100, description="Use of a disk that is a warning, percent")
    disk_critical_percent: float = Field(95, gt=0, le=100, description="Use of a disk that is critical, percent")
    connections_warn_percent: float = Field(
        90, gt=0, le=100, description="Use of the connections of Postgres that is a warning, percent"
    )
    connections_critical_percent: float = Field(
        95, gt=0, le=100, description="Use of the connections of Postgres that is critical, percent"
    )
    no_data_s: float = Field(300, gt=0, description="Without market data of any venue for this long it is critical")
    success_warn_percent: float = Field(
        90, ge=0, le=100, description="Success of the polls of the last hour below which it is a warning, percent"
    )
    success_critical_percent: float = Field(
        80, ge=0, le=100, description="Success of the polls of the last hour below which it is critical, percent"
    )
    backlog_warn: int = Field(500, ge=1, description="Slots of polls that are overdue, above which it is a warning")
    backlog_critical: int = Field(
        1_000, ge=1, description="Slots of polls that are overdue, above which it is critical"
    )
    lag_critical_s: float = Field(60, gt=0, description="Postgres this far behind the journals is critical")
    clear_s: float = Field(
        15, ge=0, le=86_400, description="A condition must be gone for this long before its alert is resolved"
    )
    rules: dict[str, RuleSettings] = Field(
        {}, description="Changes of single rules, by id, such as rules.venue_no_data.for_s; docs/runbook.md lists them"
    )
