"""The streams that a recorder has recorded, in a file beside its journal: `<home>/recorded/<recorder>.json`.

What was recorded is shown by the journal and by the database. Where the journal was removed and the database was made
again, neither shows that anything is missing. So a recorder whose journal does not know a stream that it has recorded
declares all of it as a gap. A database that still has the rows knows better: its writer replaces this gap by one that
begins at the last row (`recorder/journal/lineage.py`).
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from recorder.events import Channel, Gap, Stream
from recorder.identity import stable_hash64
from recorder.journal.block import StreamCheckpoint
from recorder.process import files
from recorder.process.log import get_logger
from recorder.shards import ALL_OF, slot_names

MOST_STREAMS = 20_000
"""The longest known are dropped beyond this: a venue may end markets and begin others for years."""
NO_RECORD = "the journal has no record of what was received before"

_log = get_logger(__name__)


class _Recorded(msgspec.Struct, array_like=True):
    symbol: str
    channel: Channel
    since_ns: int


class RecordedStreams:
    """The streams that one recorder has recorded, and since when."""

    def __init__(self, path: Path, since_ns: dict[Stream, int], saved: set[Stream]) -> None:
        """Hold what `load` has read; `saved` are the streams in the file at the path."""
        self._path = path
        self._since_ns = since_ns
        self._saved = saved

    @classmethod
    def load(cls, home: Path, recorder: str, key: str, carries: Callable[[str], bool]) -> "RecordedStreams":
        """Return what a recorder has recorded, and what other processes have recorded of its symbols.

        With another number of processes of the venue a symbol belongs to another one. A file that is damaged has
        nothing, with a warning.

        Args:
            home: State directory of the appliance.
            recorder: Name of the process.
            key: Name of the venue in the settings.
            carries: Whether a symbol is recorded by this process.
        """
        folder = home / "recorded"
        own = folder / f"{recorder}.json"
        since_ns: dict[Stream, int] = {}
        saved: set[Stream] = set()
        single = [folder / f"{name}.json" for name in slot_names(key, ALL_OF)]
        several = [path for slot in ("", "-b") for path in folder.glob(f"recorder-{key}-[0-9][0-9]{slot}.json")]
        for path in [*single, *sorted(several)]:
            for one in _read(path):
                if path == own or carries(one.symbol):
                    stream = Stream(one.channel, one.symbol)
                    since_ns[stream] = min(one.since_ns, since_ns.get(stream, one.since_ns))
                    if path == own:
                        saved.add(stream)
        return cls(own, since_ns, saved)

    def note(self, streams: Iterable[tuple[Stream, int]]) -> None:
        """Remember streams that are recorded since a time, nanoseconds; a failing disk is logged as a warning.

        Call it before their first data may come: what is not remembered cannot be missed.
        """
        changed = False
        for stream, since_ns in streams:
            known_ns = self._since_ns.get(stream)
            if known_ns is None or since_ns < known_ns:
                self._since_ns[stream] = since_ns
                changed = True
            changed |= stream not in self._saved  # known from another process alone
        if not changed:
            return
        for stream in list(self._since_ns)[: max(0, len(self._since_ns) - MOST_STREAMS)]:
            del self._since_ns[stream]
        rows = [_Recorded(stream.symbol, stream.channel, since_ns) for stream, since_ns in self._since_ns.items()]
        try:
            files.make_home(self._path.parent)
            files.write(self._path, msgspec.json.encode(rows))
            self._saved = set(self._since_ns)
        except OSError as error:
            _log.warning("recorded.not_saved", path=str(self._path), error=str(error))

    def forgotten(
        self, known: Iterable[StreamCheckpoint], carries: Callable[[str], bool], origin: str
    ) -> list[StreamCheckpoint]:
        """Return the streams that no journal knows, each with a gap since it was first recorded.

        Args:
            known: The streams that journals know.
            carries: Whether a symbol is recorded by this process.
            origin: Of the identities of these gaps; another one at every start.
        """
        others = {Stream(one.channel, one.symbol) for one in known}
        return [
            StreamCheckpoint(
                stream.symbol, stream.channel, None, False, None, None, None, None, since_ns,
                self._gap(stream, since_ns, origin),
            )
            for stream, since_ns in self._since_ns.items()
            if stream not in others and carries(stream.symbol)
        ]  # fmt: skip

    def _gap(self, stream: Stream, since_ns: int, origin: str) -> Gap:
        gap = Gap.opened(
            stable_hash64(f"removed:{origin}:{stream.symbol}:{stream.channel}") & (2**63 - 1),
            stream,
            "journal_damage",
            since_ns,
            session_id=None,
            last_id=None,
            last_ts_event_ns=None,
        )
        gap.reason = NO_RECORD
        return gap


def _read(path: Path) -> list[_Recorded]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[_Recorded])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("recorded.unreadable", path=str(path), error=str(error)[:200], action="it begins again")
        return []
