"""Loaded segments are kept for a time and up to a size, then removed. What is not loaded is never removed."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from recorder.journal_reader import segment_path, segments
from recorder.log import get_logger
from recorder.position import Position
from recorder.settings import JournalSettings

_EVERY_S = 60.0

_log = get_logger(__name__)


class SegmentFile(msgspec.Struct, frozen=True):
    """One loaded segment on disk."""

    path: Path
    size: int
    modified_s: float


def to_remove(files: Iterable[SegmentFile], now_s: float, days: float, max_bytes: float) -> list[SegmentFile]:
    """Those beyond the age, and the oldest of the rest beyond the size."""
    newest_first = sorted(files, key=lambda file: file.modified_s, reverse=True)
    removed, kept_bytes = [], 0
    for file in newest_first:
        kept_bytes += file.size
        if now_s - file.modified_s > days * 86_400 or kept_bytes > max_bytes:
            removed.append(file)
    return removed


class Retention:
    """Removes old segments of all journals."""

    def __init__(self, settings: JournalSettings) -> None:
        self._settings = settings

    def part(self, journals: Callable[[], Sequence[tuple[Path, Position | None]]]) -> Callable[[threading.Event], None]:
        """A part that looks once a minute.

        Args:
            journals: Gives each journal's folder, and how far it is stored.
        """

        def body(stop: threading.Event) -> None:
            while not stop.wait(_EVERY_S):
                try:
                    self.clean(journals(), time.time())
                except OSError as error:  # a failing disk is the recorder's and the writer's to tell; nothing was lost
                    _log.warning("journal.not_trimmed", error=str(error))

        return body

    def clean(self, journals: Iterable[tuple[Path, Position | None]], now_s: float) -> int:
        """Remove what is over; the segment being stored and all behind it stay.

        Returns:
            Bytes removed.
        """
        files = []
        for folder, stored in journals:
            # The newest segment stays in any case: it tells the recorder where its streams stood.
            for number in segments(folder)[:-1]:
                path = segment_path(folder, number)
                if stored is not None and number < stored.segment:
                    status = path.stat()
                    files.append(SegmentFile(path, status.st_size, status.st_mtime))
        settings = self._settings
        removed = to_remove(files, now_s, settings.retention_days, settings.retention_gb * (1 << 30))
        for file in removed:
            file.path.unlink()
        if removed:
            _log.info("journal.trimmed", segments=len(removed), bytes=sum(file.size for file in removed))
        return sum(file.size for file in removed)
