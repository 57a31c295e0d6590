"""The file of the queue, `<home>/watchdog/outbox.json`: replaced durably before anything is sent."""

from pathlib import Path

import msgspec

from recorder.process import files
from recorder.process.log import get_logger
from recorder.watchdog import FOLDER
from recorder.watchdog.delivery.outbox import State

_SIZE_MAX = 16 << 20

_log = get_logger(__name__)


def path_of(home: Path) -> Path:
    """Return where the queue of a home is."""
    return home / FOLDER / "outbox.json"


def read_state(home: Path, *, set_aside: bool = False) -> State:
    """Return the queue on disk; an empty one where there is no file, or a damaged one.

    Args:
        home: State directory of the appliance.
        set_aside: Keep a damaged file under another name.
    """
    path = path_of(home)
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_SIZE_MAX), type=State)
    except FileNotFoundError:
        return State()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.error("outbox.unreadable", path=str(path), error=str(error)[:200])
    if set_aside:
        try:
            path.replace(path.with_name("outbox.json.damaged"))
        except OSError as error:
            _log.warning("outbox.not_set_aside", error=str(error))
    return State()


def write_state(home: Path, state: State) -> None:
    """Replace the queue on disk, durably.

    Raises:
        OSError: the disk does not take it.
    """
    path = path_of(home)
    files.make_home(path.parent)
    files.write(path, msgspec.json.encode(state))
