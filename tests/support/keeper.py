"""What jobs of the keeper get in tests."""

import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from recorder.keeper.job import Work
from recorder.settings import Settings


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
