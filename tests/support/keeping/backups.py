"""An appliance without supervisord: a recorder and a writer in this process, and an embedded server beside it."""

import threading
import time
from pathlib import Path

from recorder.backup.catalog import Backup
from recorder.backup.prove import Proof, prove
from recorder.backup.restore import restore
from recorder.backup.take import take
from recorder.settings import Settings
from recorder.store.migrate import migrate
from support.database_server import DatabaseServer
from support.lineage import Lab

_NAME = "tape"


class Vault:
    """One home with a server, a journal and a writer."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.server = DatabaseServer(home)
        self.server.start()
        self.settings = Settings.load(
            Path("demo"),
            {
                "TAPEDECK_HOME": str(home),
                "DB_NAME": _NAME,
                "TAPEDECK__DATABASE__PORT": str(self.server.port),
                "TAPEDECK__JOURNAL__DIR": str(home / "journal"),
            },
        )
        self.migrate()
        self.lab = Lab(home, self.url)

    @property
    def url(self) -> str:
        """Return the address of the database."""
        return self.server.url(_NAME)

    def migrate(self) -> None:
        """Bring the schema up to date, as the writer does."""
        migrate(self.url)

    def back_up(self, now: float | None = None) -> Backup:
        """Take a backup."""
        return take(self.settings, self.url, threading.Event(), now=time.time if now is None else lambda: now)

    def prove(self) -> Proof:
        """Prove the newest backup."""
        return prove(self.settings, self.url, threading.Event())

    def restore(self, backup: Backup) -> Path | None:
        """Stop the server, restore, start it; return where the earlier data is."""
        self.lab.loader.reset()
        self.server.stop()
        earlier = restored(self.settings, backup)
        self.server.start()
        self.migrate()
        return earlier

    def close(self) -> None:
        """End the server."""
        self.lab.close()
        self.server.stop()


def restored(settings: Settings, backup: Backup) -> Path | None:
    """Restore a backup into a home."""
    return restore(settings, backup, threading.Event())
