"""The disk of the embedded Postgres fills up: loading stops before Postgres does, and goes on when there is space."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.database_server import DatabaseServer
from support.machine.small_disks import mounted

from recorder.appliance.embedded_postgres import max_wal_bytes
from recorder.load.reserve import DiskReserve
from recorder.settings import Settings

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 600 MiB in memory."""
    with mounted(["-t", "tmpfs", "-o", "size=600m", "tapedeck-test"], tmp_path / "disk") as disk:
        yield disk


def occupy(disk: Path, left: int) -> Path:
    """Leave so many bytes free, and return the file to remove."""
    filler = disk / "filler"
    found = os.statvfs(disk)
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - left)
    return filler


def test_loading_stops_at_the_reserve_and_resumes(disk: Path) -> None:
    server = DatabaseServer(disk / "home")
    server.start()
    try:
        settings = Settings.model_validate({"home": server.home, "database": {"port": server.port}})
        reserve = DiskReserve(settings)
        assert reserve.shortage() is None
        filler = occupy(disk, 60 * MIB)
        assert "nothing is loaded until there is space" in str(reserve.shortage())
        filler.unlink()
        assert reserve.shortage() is None
    finally:
        server.stop()


def test_the_reserve_counts_wal_that_exists_and_follows_the_size_of_the_disk(tmp_path: Path) -> None:
    assert max_wal_bytes(1 << 40) == 2048 * MIB
    assert max_wal_bytes(800 * MIB) == 100 * MIB
    assert max_wal_bytes(1) == 96 * MIB
    settings = Settings.model_validate({"home": tmp_path, "writer": {"reserve_mb": 1 << 30}})
    reserve = DiskReserve(settings)
    assert reserve.shortage() is None  # the server was not started yet
    (tmp_path / "postgres" / "data" / "pg_wal").mkdir(parents=True)
    assert "writer.reserve_mb" in str(reserve.shortage())


def test_a_server_of_ones_own_has_no_reserve(tmp_path: Path) -> None:
    url = "postgresql://me@db.example/tape"
    settings = Settings.model_validate({"home": tmp_path, "database": {"url": url}, "writer": {"reserve_mb": 1 << 30}})
    assert DiskReserve(settings).shortage() is None
