"""Removal of loaded segments beyond an age and a size. What a known reader has not loaded is not removed.

Each database that loads a journal, and each other reader of it, leaves a claim in its folder: how far it has loaded.
A claim is dropped, with a line in the log, when its database was dropped, when it has loaded nothing for
`retention_days` of recording, or when the disk has no space for it. Should that database come back, it declares what
it missed (lineage.py).

Ages are taken from the times in the segments, not from a clock: a clock that steps by days must not remove anything. No
segment is longer than `segment_minutes`, so that a step inside one counts for no more than that.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec

from recorder.journal.reader import JournalReader, segment_path, segments
from recorder.position import Position
from recorder.process import files
from recorder.process.log import get_logger
from recorder.process.slots import recorder_of
from recorder.settings import JournalSettings

_CLAIMS = "loaded"  # folder of the claims, in that of the journal

_log = get_logger(__name__)


class SegmentFile(msgspec.Struct, frozen=True):
    """One loaded segment on disk."""

    path: Path
    size: int
    age_s: float  # how much was recorded after it


class Limits(msgspec.Struct, frozen=True):
    """How much of a journal, or of several together, is kept."""

    days: float
    gb: float


class Claim(msgspec.Struct, frozen=True):
    """How far a database has loaded a journal."""

    segment: int  # every earlier one is loaded
    days: float = 0.0  # of recording that it holds back, where that is more than `retention_days`


def to_remove(found: Iterable[SegmentFile], days: float, max_bytes: float) -> list[SegmentFile]:
    """Return the files beyond the age, and the oldest of the rest beyond the size."""
    removed, kept_bytes = [], 0
    for file in sorted(found, key=lambda file: file.age_s):
        kept_bytes += file.size
        if file.age_s > days * 86_400 or kept_bytes > max_bytes:
            removed.append(file)
    return removed


def ages(began_ns: Sequence[int | None], longest_s: float) -> list[float]:
    """Return how many seconds were recorded after each segment, from the times at which they begin.

    Args:
        began_ns: When each segment begins, oldest first; None where that is damaged.
        longest_s: No segment is longer.
    """
    result: list[float] = []
    after_s, end = 0.0, None
    for begin in reversed(began_ns):
        result.append(after_s)
        if begin is not None and end is not None:
            after_s += min(max(0.0, (end - begin) / 1e9), longest_s)
        end = begin
    return result[::-1]


def write_claim(folder: Path, database: str, place: Position, *, days: float = 0.0) -> None:
    """Record how far a database has loaded a journal. On a full disk the earlier claim stays, which keeps more."""
    claims = folder / _CLAIMS
    try:
        claims.mkdir(mode=0o700, exist_ok=True)
        files.write(claims / f"{database}.json", msgspec.json.encode(Claim(place.segment, days)), mode=0o600)
    except OSError as error:
        _log.warning("journal.claim_not_written", journal=folder.name, error=str(error))


def read_claims(folder: Path) -> dict[str, Claim]:
    """Return the claims on a journal, by database; one that cannot be read claims everything."""
    found = {}
    for path in sorted((folder / _CLAIMS).glob("*.json")):
        try:
            found[path.stem] = msgspec.json.decode(path.read_bytes(), type=Claim)
        except FileNotFoundError:
            continue
        except msgspec.MsgspecError:
            found[path.stem] = Claim(0)
    return found


class Retention:
    """Removes old segments of all journals.

    Args:
        settings: The limits of all journals together.
        own: The limits of journals that have their own, by the name of the journal; they do not count with the others.
    """

    def __init__(self, settings: JournalSettings, own: Mapping[str, Limits] = MappingProxyType({})) -> None:
        self._settings = settings
        self._limits = {"": Limits(settings.retention_days, settings.retention_gb), **own}
        self._began_ns: dict[Path, int | None] = {}

    def clean(self, journals: Iterable[tuple[Path, Position]], database: str, present: Collection[str] = ()) -> int:
        """Remove what is beyond the limits; the segment being loaded and all after it stay.

        Args:
            journals: The folder of each journal, and how far `database` has loaded it.
            database: Identity of the database.
            present: Identities of all databases of its server.

        Returns:
            Bytes removed.
        """
        found: dict[str, list[SegmentFile]] = {name: [] for name in self._limits}
        journals = list(journals)
        times = self._ages([folder for folder, _ in journals])
        for folder, place in journals:
            group = folder.name if folder.name in self._limits else ""
            keep_from = min(place.segment, self._claimed(folder, database, present, times[folder]))
            # The newest segment always stays: the recorder restores the state of its streams from it.
            for number, age_s in list(times[folder].items())[:-1]:
                path = segment_path(folder, number)
                if number < keep_from:
                    found[group].append(SegmentFile(path, path.stat().st_size, age_s))
        removed = [
            file for name, own in self._limits.items() for file in to_remove(found[name], own.days, own.gb * (1 << 30))
        ]
        for file in removed:
            file.path.unlink()
            self._began_ns.pop(file.path, None)
        if removed:
            _log.info("journal.trimmed", segments=len(removed), bytes=sum(file.size for file in removed))
        return sum(file.size for file in removed)

    def _ages(self, folders: Iterable[Path]) -> dict[Path, dict[int, float]]:
        """Return how many seconds were recorded after each segment, in its journal or in that of the other slot."""
        times: dict[Path, dict[int, float]] = {}
        of_recorder: dict[str, list[tuple[int, int | None, Path, int]]] = {}
        for folder in folders:
            times[folder] = {}
            place_ns = 0  # a segment whose begin is damaged stays behind the one before it
            for number in segments(folder):
                began_ns = self._begin(folder, number)
                place_ns = place_ns if began_ns is None else began_ns
                of_recorder.setdefault(recorder_of(folder.name), []).append((place_ns, began_ns, folder, number))
        for found in of_recorder.values():
            found.sort(key=lambda one: one[0])
            seconds = ages([began_ns for _, began_ns, _, _ in found], self._settings.segment_minutes * 60)
            for (_, _, folder, number), age_s in zip(found, seconds, strict=True):
                times[folder][number] = age_s
        return {folder: dict(sorted(one.items())) for folder, one in times.items()}

    def _claimed(self, folder: Path, own: str, present: Collection[str], age_s: dict[int, float]) -> int:
        """Return the first segment that another database has not loaded; drop the claims that no longer count."""
        newest = max(age_s, default=0)
        keep_from = newest
        disk = os.statvfs(folder)
        full = disk.f_bavail * disk.f_frsize < 2 * (self._settings.reserve_mb << 20)
        server = own.partition("-")[0]
        for database, claim in read_claims(folder).items():
            if database == own:
                continue
            reason = ""
            if present and database.partition("-")[0] == server and database not in present:
                reason = "the database was dropped"
            elif full and claim.segment < newest:
                reason = "the disk is nearly full"
            elif age_s.get(claim.segment, 0.0) > max(self._settings.retention_days, claim.days) * 86_400:
                reason = "it has loaded nothing for retention_days of recording"
            if reason:
                (folder / _CLAIMS / f"{database}.json").unlink(missing_ok=True)
                _log.warning("journal.database_forgotten", journal=folder.name, database=database, reason=reason)
            elif claim.segment <= newest:
                keep_from = min(keep_from, claim.segment)
            else:
                keep_from = 0  # the journal was replaced by an older copy: what that database lacks is unknown
        return keep_from

    def _begin(self, folder: Path, number: int) -> int | None:
        path = segment_path(folder, number)
        if path not in self._began_ns:
            reader = JournalReader(folder)
            try:
                self._began_ns[path] = reader.began_ns(number)
            finally:
                reader.close()
        return self._began_ns[path]
