"""The disk space that loading leaves free: Postgres stops with a panic when it cannot write its WAL."""

import os

from recorder.appliance.disk import folder_bytes
from recorder.appliance.embedded_postgres import EmbeddedPostgres, max_wal_bytes
from recorder.settings import Settings

_MIN_MARGIN = 64 << 20
_BATCHES = 10  # a batch is compressed; it becomes rows and index entries, and both again in the WAL
_HYSTERESIS = 32 << 20


class DiskReserve:
    """Whether the disk of the embedded Postgres has room for another batch.

    WAL files that exist are used again, so they count as room for WAL, up to the size at which Postgres recycles them.
    """

    def __init__(self, settings: Settings) -> None:
        own_server = settings.database.url is not None  # its disk is not ours to see
        self._data = None if own_server else EmbeddedPostgres(settings.home, settings.database.port).data
        self._reserve = None if settings.writer.reserve_mb is None else settings.writer.reserve_mb << 20
        self._batch = int(settings.writer.batch_mb * (1 << 20))
        self._short = False

    def shortage(self) -> str | None:
        """Return for a person why nothing may be loaded now; None where there is room."""
        if self._data is None:
            return None
        try:
            disk = os.statvfs(self._data)
        except OSError:
            return None  # the server has not been started yet
        most = max_wal_bytes(disk.f_blocks * disk.f_frsize)
        free = disk.f_bavail * disk.f_frsize
        reserve = self._reserve
        if reserve is None:
            reserve = most + max(most // 4, _MIN_MARGIN, _BATCHES * self._batch)
        limit = reserve + (_HYSTERESIS if self._short else 0)
        if free < limit:
            limit = max(0, limit - min(folder_bytes(self._data / "pg_wal"), most))
        self._short = free < limit
        if not self._short:
            return None
        return (
            f"the disk of the embedded Postgres has {free >> 20} MiB left, and {limit >> 20} MiB are kept for its WAL "
            "(writer.reserve_mb): nothing is loaded until there is space; recording goes on into the journals"
        )
