"""When the writer makes the schema: at its start, and again after the database was dropped or emptied while it ran."""

import time
from collections.abc import Callable

from recorder.errors import StoreUnavailable
from recorder.store.restore import is_vacant

GRACE_S = 10.0
"""A database that was emptied in use is left alone for this long, because its owner may be about to restore it."""


class SchemaKeeper:
    """Migrates before the first batch of each connection."""

    def __init__(self, url: Callable[[], str], migrate: Callable[[], list[str]], grace_s: float = GRACE_S) -> None:
        self._url = url
        self._migrate = migrate
        self._grace_s = grace_s
        self._used = False
        self._vacant_s: float | None = None  # since when the database is empty

    def __call__(self) -> None:
        """Bring the database to the schema.

        Raises:
            StoreUnavailable, ConfigError: As `migrate`; also while a restore may be about to begin.
        """
        if self._used and is_vacant(self._url()):
            now_s = time.monotonic()
            if self._vacant_s is None:
                self._vacant_s = now_s
            left_s = self._vacant_s + self._grace_s - now_s
            if left_s > 0:
                raise StoreUnavailable(
                    f"the database is missing or empty; its schema is made in {left_s:.0f} s, unless a restore begins"
                )
        self._migrate()
        self._used, self._vacant_s = True, None
