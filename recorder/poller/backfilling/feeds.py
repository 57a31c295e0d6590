"""Whether the database has what a feed received up to an instant.

Where a feed joins several trades into one, only the stored row shows which trades of the history it stands for. A time
whose feed is not loaded yet must not be read: each of its trades would be stored beside the row that joins them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from recorder.backfill.database import opened
from recorder.journal.reader import JournalReader, segments
from recorder.process.slots import SLOTS, program_of
from recorder.settings import Settings

_DELAY_NS = 30 * 10**9  # a message about an instant arrives and is written within this time


def recorders_of(settings: Settings, venue: str) -> list[str]:
    """Return the names of the programs whose journals may hold the feed of a venue."""
    own = settings.venues.get(venue)
    names = [] if own is None else own.recorders(venue)
    return [program_of(name, slot) for name in names for slot in SLOTS]


class LoadedFeeds:
    """Compares journals with what the database has loaded of them.

    Args:
        journals: The folder of all journals.
        url: Returns the address of the database.
        recorders: Returns the names of the programs that record a venue.
    """

    def __init__(self, journals: Path, url: Callable[[], str], recorders: Callable[[str], Sequence[str]]) -> None:
        self._journals = journals
        self._url = url
        self._recorders = recorders

    def until(self, venue: str, at_ns: int) -> bool:
        """Return whether all that the feed of a venue received about times before an instant is loaded.

        Raises:
            StoreError, ConfigError: The database failed.
        """
        names = [name for name in self._recorders(venue) if segments(self._journals / name)]
        if not names:
            return True
        with opened(self._url()) as database:
            loaded = database.loaded(names)
        for name in names:
            ends = [end for end, written_ns in loaded.get(name, []) if written_ns < at_ns + _DELAY_NS]
            if len(ends) < len(loaded.get(name, [])):
                continue  # a later block is loaded
            reader = JournalReader(self._journals / name)
            if not any(reader.lag_bytes(end) == 0 for end in ends):
                return False
        return True
