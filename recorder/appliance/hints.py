"""The commands that messages recommend, as the reader can type them."""

from pathlib import Path

_MAKE = {"up": "make run", "down": "make stop", "status": "make status", "logs": "make logs", "psql": "make psql"}
_CHECKOUT = Path(__file__).resolve().parents[2]


def hint(command: str) -> str:
    """Return a command of `tapedeck` in backquotes: the target of `make` in a checkout, else the command itself."""
    in_checkout = (_CHECKOUT / "Makefile").is_file() and Path.cwd() == _CHECKOUT
    return f"`{_MAKE[command]}`" if in_checkout else f"`tapedeck {command}`"
