"""The program `watchdog`: judges the appliance every few seconds, answers on loopback, keeps the alerts.

It needs neither Postgres nor any other program to run.
"""

from recorder.appliance import embedded_postgres
from recorder.process.health import HealthFile
from recorder.process.log import get_logger
from recorder.process.reporting import reporting
from recorder.process.threads import Part, run
from recorder.settings import Settings
from recorder.store.database import WATCHDOG
from recorder.watchdog.acting.book import RestartBook
from recorder.watchdog.acting.restarter import Restarter
from recorder.watchdog.acting.table import RestartTable
from recorder.watchdog.activity.question import TradeQuestion
from recorder.watchdog.book import AlertBook, LogDelivery
from recorder.watchdog.database import DatabaseProbe
from recorder.watchdog.delivery.alert_table import AlertTable
from recorder.watchdog.delivery.marks import MarksFile
from recorder.watchdog.delivery.messages import Messages
from recorder.watchdog.machine import Disks
from recorder.watchdog.pages.server import Pages, Server
from recorder.watchdog.round import Watch

_LEAVE_S = 1.0  # a question to Postgres or a disk that hangs is left behind

_log = get_logger(__name__)


def main(settings: Settings) -> int:
    """Judge until the process is stopped.

    Raises:
        ConfigError: the port is in use, or the settings change a rule that there is not.
    """
    alerts = AlertBook(settings.home)
    restarts = RestartBook(settings.home)
    watched = settings.watchdog
    question = TradeQuestion(
        watched.trades_interval_s, watched.large_trade, watched.large_trade_in, lambda until: _stored(watch, until)
    )
    probe = DatabaseProbe(
        lambda: embedded_postgres.database_url(settings, WATCHDOG),
        watched.every_s,
        [AlertTable(alerts, MarksFile(settings.home).read), RestartTable(restarts), question],
    )
    disks = Disks(settings)
    watch = Watch(settings, probe, disks, alerts, [LogDelivery()], question)
    delivery = Messages(settings, alerts.alerts, lambda: watch.snapshot)
    pages = Pages(settings.watchdog, lambda: watch.snapshot, delivery.marks)
    watch.requests = pages.counts
    watch.traffic = delivery.traffic
    watch.restarts, watch.action = lambda: restarts.counts, restarts.action
    acting: dict[str, Part] = {}
    if watched.restart_stuck:
        acting["acting"] = Restarter(settings, restarts, lambda: watch.snapshot, delivery.marks).part
    server = Server(watched.port, pages)
    _log.info("watchdog.start", port=watched.port, every_s=watched.every_s, restart_stuck=watched.restart_stuck)
    status = run(
        {
            "health": reporting(
                HealthFile(settings.home, "watchdog"), lambda: delivery.health(watch.health()), settings.monitoring
            ),
            "http": server.part(),
            "postgres": probe.part,
            "disks": disks.part(),
            "rounds": watch.part,
            **acting,
            **delivery.parts(),
        },
        leave_s={"postgres": _LEAVE_S, "disks": _LEAVE_S, **delivery.leave_s},
    )
    alerts.save()
    return status


def _stored(watch: Watch, until: float) -> bool:
    """Return whether Postgres has all that was received before a time, as the writer reported at the last round."""
    evidence = None if watch.snapshot is None else watch.snapshot.evidence
    return (
        evidence is not None
        and evidence.writer is not None
        and evidence.fresh("writer")
        and evidence.writer.has_stored(until)
    )
