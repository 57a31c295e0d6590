"""What jobs of the keeper get in tests."""

import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import psycopg2

from recorder.keeper.job import Work
from recorder.settings import Settings
from recorder.store.archive_files import sealed


def query(url: str, text: str, *values: object) -> list[tuple[Any, ...]]:
    """Run SQL as the owner and return its rows."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []


def work(
    url: str,
    keeper: Mapping[str, object] | None = None,
    *,
    now: float,
    home: Path = Path("/nonexistent"),
    **more: object,
) -> Work:
    """Return what a handler gets: the settings of a home with these values of the group `keeper`."""
    values = {"home": home, "database": {"url": url}, "keeper": dict(keeper or {}), **more}
    return Work(Settings.model_validate(values), lambda: url, lambda: url, threading.Event(), lambda: now)


def write_manifest(root: Path, venue: str, day: str, files: Mapping[str, str]) -> Path:
    """Write the manifest of a day of the archive, sealed; `files` are SHA-256 by table."""
    named = {table: {"path": table, "rows": 7, "bytes": 9, "sha256": digest} for table, digest in files.items()}
    content = {
        "format": 1, "venue": venue, "date": day, "start": f"{day}T00:00:00Z", "end": f"{day}T00:00:00Z",
        "recorded_until": None, "schema_version": 1, "tapedeck": "1", "exported_at": f"{day}T00:00:00Z", "files": named,
        "instruments": [], "gaps": [],
    }  # fmt: skip
    path = root / "manifest" / f"venue={venue}" / f"date={day}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sealed(msgspec.json.format(msgspec.json.encode(content))))
    return path
