"""The learned rates of a recorder's streams on disk: `<home>/rates/<recorder>.bin`."""

from pathlib import Path

from recorder.capture.liveness.rates import ExpectedRates
from recorder.process import files
from recorder.process.log import get_logger

_log = get_logger(__name__)


def path_of(home: Path, recorder: str) -> Path:
    """Return the path of a recorder's file."""
    return home / "rates" / f"{recorder}.bin"


def load(path: Path, now_s: float) -> ExpectedRates:
    """Return the learned rates; none, with a warning, where the file is damaged or of another version.

    Args:
        path: The file.
        now_s: Unix time: what was learned fades with time.
    """
    try:
        return ExpectedRates.decode(path.read_bytes(), now_s)
    except FileNotFoundError:
        return ExpectedRates()
    except (OSError, ValueError) as error:
        _log.warning("rates.unreadable", path=str(path), error=str(error), action="rates are learned again")
        return ExpectedRates()


def save(path: Path, rates: ExpectedRates, now_s: float) -> None:
    """Replace the file; a failing disk is logged as a warning.

    Args:
        path: The file.
        rates: What was learned.
        now_s: Unix time.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, rates.encode(now_s))
    except OSError as error:
        _log.warning("rates.not_saved", path=str(path), error=str(error))
