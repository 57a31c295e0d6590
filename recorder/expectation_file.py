"""What a recorder learned of its streams' rates, on disk: `<home>/expectation/<recorder>.bin`, replaced whole."""

import os
from pathlib import Path

from recorder.expectation import Expectation
from recorder.log import get_logger

_log = get_logger(__name__)


def path_of(home: Path, recorder: str) -> Path:
    """Where the file of a recorder is."""
    return home / "expectation" / f"{recorder}.bin"


def load(path: Path, now_s: float) -> Expectation:
    """What was learned; nothing, with a warning, where the file is damaged or of another version.

    Args:
        path: The file.
        now_s: Unix time: what was learned has faded since.
    """
    try:
        return Expectation.decode(path.read_bytes(), now_s)
    except FileNotFoundError:
        return Expectation()
    except (OSError, ValueError) as error:
        _log.warning("expectation.begins_anew", path=str(path), error=str(error))
        return Expectation()


def save(path: Path, expectation: Expectation, now_s: float) -> None:
    """Replace the file; a disk that does not take it is worth a warning, and nothing more.

    Args:
        path: The file.
        expectation: What was learned.
        now_s: Unix time.
    """
    temporary = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(expectation.encode(now_s))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _log.warning("expectation.not_saved", path=str(path), error=str(error))
