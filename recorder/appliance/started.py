"""What the settings of each program were when it was started, so that an upgrade restarts only what they change."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from recorder.process import files
from recorder.settings import Settings
from recorder.shards import venue_of

FILE = "programs.json"
_OF_POSTGRES = ("home", "port_base", "database")
_OF_SIMULATOR = ("home", "port_base", "simulator", "venues", "poller", "log")


def digest(settings: Settings, program: str) -> str:
    """Return a digest of the settings that concern a program: two that are equal need no restart.

    Args:
        settings: Of the appliance.
        program: Its name, such as recorder-kraken-00.
    """
    values = settings.model_dump()
    venue = venue_of(program)
    if venue is not None:
        own = values["venues"].get(venue)
        apart = ("venues", "alerts", "watchdog", "web", "jupyter")
        values = {key: value for key, value in values.items() if key not in apart}
        values["venues"] = {venue: own}
    elif program == "postgres":
        values = {key: values[key] for key in _OF_POSTGRES}
    elif program == "simulator":
        values = {key: values[key] for key in _OF_SIMULATOR}
    values.pop("python", None)  # names the release in use; the code of a release is compared by itself
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=_text).encode()).hexdigest()


def _text(value: object) -> Any:
    """Return what JSON has no type for, as text; a secret counts by its value, of which only a digest is kept."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def read(home: Path) -> dict[str, str]:
    """Return the digest of each program; empty where none was kept."""
    try:
        kept = json.loads((home / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(name): str(text) for name, text in kept.items()} if isinstance(kept, dict) else {}


def note(settings: Settings, program: str) -> None:
    """Keep the digest of a program that was started with these settings just now.

    Raises:
        OSError: the disk does not take it.
    """
    write(settings.home, {**read(settings.home), program: digest(settings, program)})


def write(home: Path, digests: Mapping[str, str]) -> None:
    """Keep the digests.

    Raises:
        OSError: the disk does not take them.
    """
    files.write(home / FILE, json.dumps(dict(digests), sort_keys=True).encode())
