"""Finds journals and hashes their segments."""

import hashlib
from pathlib import Path

from recorder.certify.document import JournalFact, SegmentHash
from recorder.errors import JournalError
from recorder.journal.reader import JournalReader, segment_path, segments
from recorder.position import Position

_CHUNK = 1 << 20


def journals_in(folder: Path) -> dict[str, Path]:
    """Return the folders of all journals in a folder, or of the one that it is itself, by their identity."""
    found = {}
    for path in sorted([*folder.glob("journal.id"), *folder.glob("*/journal.id")]):
        try:
            found[path.read_text().strip()] = path.parent
        except (OSError, UnicodeDecodeError) as error:
            raise JournalError(f"{path} cannot be read: {error}") from error
    return found


class SegmentHashes:
    """Hashes of segments, each computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int], str] = {}

    def fact(self, reader: JournalReader, feed: str, first: int, end: Position) -> JournalFact:
        """Return the part of a journal from the beginning of a segment to a position, with the hashes of its segments.

        Raises:
            JournalError: A segment cannot be read.
        """
        listed = []
        for number in segments(reader.folder):
            if first <= number <= end.segment:
                path = segment_path(reader.folder, number)
                size = end.offset if number == end.segment else size_of(path)
                listed.append(SegmentHash(segment=number, bytes=size, sha256=self.of(path, size)))
        return JournalFact(
            journal_id=reader.journal_id, recorder=reader.folder.name, feed=feed, segments=listed
        )  # fmt: skip

    def faults(self, folder: Path, fact: JournalFact) -> list[str]:
        """Return which segments of a journal are missing, shorter or other ones."""
        faults = []
        for place, one in enumerate(fact.segments, 1):
            path = segment_path(folder, one.segment)
            name = f"segment {one.segment} of {fact.recorder}"
            if not path.is_file():
                faults.append(f"{name} is missing")
            elif size_of(path) < one.bytes:
                faults.append(f"{name} is shorter than {one.bytes} bytes")
            elif place < len(fact.segments) and size_of(path) > one.bytes:
                faults.append(f"{name} is longer than {one.bytes} bytes")
            elif self.of(path, one.bytes) != one.sha256:
                faults.append(f"{name} has other bytes")
        return faults

    def of(self, path: Path, size: int) -> str:
        """Return the SHA-256 of the first bytes of a file.

        Raises:
            JournalError: It cannot be read, or is shorter.
        """
        known = self._known.get((path, size))
        if known is None:
            known = self._known[path, size] = _sha256(path, size)
        return known


def _sha256(path: Path, size: int) -> str:
    found = hashlib.sha256()
    left = size
    try:
        with path.open("rb") as file:
            while left:
                chunk = file.read(min(_CHUNK, left))
                if not chunk:
                    raise JournalError(f"{path} is shorter than {size} bytes")
                found.update(chunk)
                left -= len(chunk)
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror}") from error
    return found.hexdigest()


def size_of(path: Path) -> int:
    """Return the size of a file in bytes.

    Raises:
        JournalError: It cannot be read.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror}") from error
