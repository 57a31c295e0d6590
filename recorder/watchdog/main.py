"""The program `watchdog`: judges the appliance every few seconds, answers on loopback, keeps the alerts.

It needs neither Postgres nor any other program to run.
"""

from recorder.appliance import embedded_postgres
from recorder.process.health import HealthFile
from recorder.process.log import get_logger
from recorder.process.reporting import reporting
from recorder.process.threads import run
from recorder.settings import Settings
from recorder.store.database import WATCHDOG
from recorder.watchdog.book import AlertBook, LogDelivery
from recorder.watchdog.database import DatabaseProbe
from recorder.watchdog.delivery.messages import Messages
from recorder.watchdog.machine import Disks
from recorder.watchdog.round import Watch
from recorder.watchdog.server import Pages, Server

_LEAVE_S = 1.0  # a question to Postgres or a disk that hangs is left behind

_log = get_logger(__name__)


def main(settings: Settings) -> int:
    """Judge until the process is stopped.

    Raises:
        ConfigError: the port is in use, or the settings change a rule that there is not.
    """
    alerts = AlertBook(settings.home)
    probe = DatabaseProbe(
        lambda: embedded_postgres.database_url(settings, WATCHDOG),
        settings.watchdog.every_s,
        alerts.unsaved,
        alerts.saved,
    )
    disks = Disks(settings)
    watch = Watch(settings, probe, disks, alerts, [LogDelivery()])
    delivery = Messages(settings, alerts.alerts, lambda: watch.snapshot)
    pages = Pages(settings.watchdog, lambda: watch.snapshot, delivery.marks)
    watch.requests = pages.counts
    watch.traffic = delivery.traffic
    server = Server(settings.watchdog.port, pages)
    _log.info("watchdog.start", port=settings.watchdog.port, every_s=settings.watchdog.every_s)
    status = run(
        {
            "health": reporting(
                HealthFile(settings.home, "watchdog"), lambda: delivery.health(watch.health()), settings.monitoring
            ),
            "http": server.part(),
            "postgres": probe.part,
            "disks": disks.part(),
            "rounds": watch.part,
            **delivery.parts(),
        },
        leave_s={"postgres": _LEAVE_S, "disks": _LEAVE_S, **delivery.leave_s},
    )
    alerts.save()
    return status
