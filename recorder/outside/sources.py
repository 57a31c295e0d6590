"""The few settings that the check needs, from the same sources and in the same order as recorder/settings."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recorder.outside.texts import read

ROOT = Path(__file__).absolute().parents[2]  # the folder above bin/


class Sources:
    """Where settings come from, the strongest first: the environment, `.env`, the TOML file. As in docs/operate.md."""

    def __init__(self, folder: Path, note: str) -> None:
        """
        Args:
            folder: Where `.env` and `tapedeck.toml` are, and where relative paths begin.
            note: Content of the file `running`; its first line names the settings file of the running appliance.
        """
        self._folder = folder
        self._layers: list[dict[str, str]] = [dict(os.environ), dotenv(folder / ".env")]
        name = next((layer["TAPEDECK_CONFIG"] for layer in self._layers if layer.get("TAPEDECK_CONFIG")), "")
        profile = ROOT / "recorder" / "profiles" / f"{name}.toml"
        places = [profile, folder / name] if name else [Path(note.partition("\n")[0]), folder / "tapedeck.toml"]
        self._toml = next((toml(place) for place in places if place.is_file()), {})

    def get(self, names: Sequence[str], *path: str, secret: bool = False) -> str:
        """Return a setting; empty where it is not set.

        Args:
            names: Its variables; of two in one source the first wins.
            path: Its place in TOML.
            secret: It may stand in a file of its own, and an empty text means that there is none.
        """
        long = "__".join(("TAPEDECK", *path)).upper()
        for layer in self._layers:
            for variable in (long, *names):
                if layer.get(variable) or (secret and variable in layer):
                    return layer[variable]
                if secret and layer.get(f"{variable}_FILE"):
                    return _secret(self._folder / os.path.expanduser(layer[f"{variable}_FILE"]))
        value: Any = self._toml
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value if isinstance(value, str) else ""

    def home(self) -> Path:
        """Return the folder of the appliance's state."""
        name = self.get(("TAPEDECK_HOME", "LOGGER_DATA_PATH"), "home") or "var"
        return self._folder / os.path.expanduser(name)

    def database_url(self) -> str:
        """Return the address of a Postgres of one's own."""
        return self.get(("DATABASE_URL",), "database", "url", secret=True)

    def webhook(self) -> str:
        """Return the address for alerts, which is a secret."""
        return self.get(("ALERT_WEBHOOK_URL",), "monitoring", "alert_webhook_url", secret=True)

    def ca_file(self) -> str:
        """Return the file of the only certificate authorities to trust."""
        name = self.get(("TAPEDECK_CA_FILE",), "ca_file")
        return str(self._folder / os.path.expanduser(name)) if name else ""


def places() -> tuple[str, str, str, str, str]:
    """Return what the check needs to begin.

    Returns:
        The home, the working folder of its programs, the content of its file `running`, the address for alerts and
        the file of certificate authorities; empty where there is none.
    """
    home = Sources(ROOT, "").home()
    note, folder = "", ROOT
    with contextlib.suppress(OSError):
        note = read(home / "running")
    with contextlib.suppress(OSError):
        found = re.search(r"^directory *= *(.+)$", read(home / "supervisord.conf"), re.MULTILINE)
        folder = Path(found[1].replace("%%", "%")) if found else ROOT
    sources = Sources(folder, note)
    return str(home), str(folder), note, sources.webhook(), sources.ca_file()


def dotenv(path: Path) -> dict[str, str]:
    """Return the variables of a `.env`; empty where there is none."""
    try:
        lines = read(path).splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        match = re.match(r"\s*(?:export\s+)?(\w+)\s*=\s*(.*?)\s*$", line)
        if match:
            quoted = re.match(r"""(["'])(.*?)\1\s*(?:#.*)?$""", match[2])
            found[match[1]] = quoted[2] if quoted else re.sub(r"(^|\s+)#.*", "", match[2])
    return found


def toml(path: Path) -> dict[str, Any]:
    """Return a TOML file; before Python 3.11, which reads TOML, only its plain texts. Empty where it is damaged."""
    try:
        text = read(path)
    except OSError:
        return {}
    try:
        import tomllib
    except ImportError:
        return plain_toml(text)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def plain_toml(text: str) -> dict[str, Any]:
    """Return the values of a TOML document that are texts on one line without escapes."""
    result: dict[str, Any] = {}
    table: list[str] = []
    for line in text.splitlines():
        header = re.match(r"\s*\[([\w.-]+)\]", line)
        if header:
            table = header[1].split(".")
        match = re.match(r"""\s*([\w.-]+)\s*=\s*(?:"([^"\\]*)"|'([^']*)')\s*(?:#.*)?$""", line)
        if match:
            *above, key = table + match[1].split(".")
            place: Any = result
            for part in above:
                place = place.setdefault(part, {}) if isinstance(place, dict) else None
            if isinstance(place, dict):
                place[key] = match[2] if match[2] is not None else match[3]
    return result


def _secret(file: Path) -> str:
    """Return what a file of a secret holds; empty where it cannot be read."""
    try:
        return read(file).rstrip("\r\n")
    except OSError:
        return ""
