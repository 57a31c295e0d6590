"""The set-up link: who can read the home may make the first admin, once."""

import contextlib
import hmac
from pathlib import Path

from recorder.settings import Settings
from recorder.web.security import keys

FILE = "setup"


def make(home: Path) -> str:
    """Return the token of the link; it is made if the home has none.

    Raises:
        ConfigError: the home cannot be written.
    """
    return keys.kept(home, FILE)


def link(settings: Settings) -> str:
    """Return the link, which makes the first admin.

    Raises:
        ConfigError: the home cannot be written.
    """
    return f"{settings.web.url}/setup?token={make(settings.home)}"


def fits(home: Path, token: str) -> bool:
    """Return whether a token is that of the link."""
    try:
        stored = (home / keys.FOLDER / FILE).read_text().strip()
    except OSError:
        return False
    return bool(stored) and hmac.compare_digest(stored.encode(), token.encode())


def pending(home: Path) -> bool:
    """Return whether there is a link that was not used."""
    return (home / keys.FOLDER / FILE).exists()


def remove(home: Path) -> None:
    """Make the link invalid."""
    with contextlib.suppress(FileNotFoundError):
        (home / keys.FOLDER / FILE).unlink()
