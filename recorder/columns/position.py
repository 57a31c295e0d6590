"""The position file of a column store: which rows count, and where the journals are read next.

It is an undo log. Before rows are appended, the lengths of the files concerned are written down; after it, the places
in the journals that the rows come from. Two states are kept: `now` holds over the end of the process at any point, and
`synced` over the end of the machine, because only then are the files on the disk for certain.
"""

from pathlib import Path

import msgspec

from recorder.columns.layout import Floats
from recorder.errors import ConfigError
from recorder.journal.lineage import History
from recorder.position import Position
from recorder.process import files

NAME = "position.json"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Place(msgspec.Struct, frozen=True):
    """How far a journal is read."""

    position: Position
    head: int  # incarnation of the last block read
    last: dict[int, int]  # number of the last block read, by incarnation
    written_ns: int  # when the last block read was written

    def history(self) -> History:
        """Return what was read, for the judgement of the next block."""
        return History(dict(self.last), self.head)


class Mark(msgspec.Struct, frozen=True):
    """A state that reading can go on from."""

    journals: dict[str, Place] = {}  # by identity of the journal
    rows: dict[str, int] = {}  # of the files that have changed since, or will change next: their rows at this state


class PositionFile(msgspec.Struct, frozen=True):
    """What the file says."""

    floats: Floats
    boot: str  # of the machine; empty where it is unknown
    now: Mark
    synced: Mark


def boot_id() -> str:
    """Return what distinguishes this start of the machine from every other; empty where that is unknown."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def read(folder: Path) -> PositionFile | None:
    """Return the position file of a folder; None without one.

    Raises:
        ConfigError: It cannot be read.
    """
    path = folder / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=PositionFile)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): move {folder} away, it is written again") from None


def write(folder: Path, content: PositionFile) -> None:
    """Replace the position file, durably.

    Raises:
        OSError: The disk does not take it; the old content stands.
    """
    files.write(folder / NAME, msgspec.json.encode(content))
