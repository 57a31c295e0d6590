"""Sources of settings: a TOML file, `.env`, the environment, and the files that hold secrets. The later source wins.

Nothing else in the project reads the environment. This module knows names and texts; `groups.py` holds the schema.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dotenv import dotenv_values

from recorder.errors import ConfigError, nearest
from recorder.printable import MASK, masked_url, secret_name

PROFILES = Path(__file__).parents[1] / "profiles"
PREFIX = "TAPEDECK__"
LOGGER_VENUE = "LOGGER_EXCHANGES_"
SettingPath = tuple[str, ...]

FLAT_NAMES: dict[str, SettingPath] = {
    "TAPEDECK_HOME": ("home",),
    "TAPEDECK_CA_FILE": ("ca_file",),
    "DATABASE_URL": ("database", "url"),
    "DB_HOST": ("database", "host"),
    "DB_PORT": ("database", "port"),
    "DB_NAME": ("database", "name"),
    "DB_USER": ("database", "user"),
    "DB_PASSWORD": ("database", "password"),
    # Written for a recorder of one venue, Figure Markets; the name is older than the list of venues.
    "WEBSOCKET_URL": ("venues", "figure", "url"),
    "WEBSOCKET_MAX_RETRIES": ("websocket", "max_retries"),
    "WEBSOCKET_RECONNECT_DELAY": ("websocket", "reconnect_delay_s"),
    "CONNECTION_HEALTH_CHECK_INTERVAL": ("websocket", "health_check_interval_s"),
    "MAX_NO_DATA_SECONDS": ("websocket", "max_no_data_s"),
    "HEARTBEAT_INTERVAL": ("websocket", "heartbeat_interval_s"),
    "HEARTBEAT_TIMEOUT": ("websocket", "heartbeat_timeout_s"),
    "MONITORING_ENABLED": ("monitoring", "enabled"),
    "METRICS_REPORTING_INTERVAL": ("monitoring", "metrics_interval_s"),
    "ALERT_WEBHOOK_URL": ("monitoring", "alert_webhook_url"),
    "ALERT_COOLDOWN_SECONDS": ("alerts", "cooldown_s"),
    "ALERT_REMINDER_SECONDS": ("alerts", "reminder_s"),
    "ALERT_EMAIL_TO": ("alerts", "email_to"),
    "ALERT_EMAIL_FROM": ("alerts", "email_from"),
    "ALERT_PING_URL": ("alerts", "ping_url"),
    "SMTP_HOST": ("alerts", "smtp_host"),
    "SMTP_PORT": ("alerts", "smtp_port"),
    "SMTP_USER": ("alerts", "smtp_user"),
    "SMTP_PASSWORD": ("alerts", "smtp_password"),
    "PROMETHEUS_PORT": ("watchdog", "port"),
    "LOGGER_HEALTH_CHECK_PORT": ("watchdog", "port"),
    "JUPYTER_TOKEN": ("jupyter", "token"),
    "JWT_SECRET": ("web", "secret"),
    "LOG_LEVEL": ("log", "level"),
    "DEBUG": ("log", "debug"),
    "LOGGER_DATA_PATH": ("home",),
}
"""Variables that work without the prefix `TAPEDECK__`."""

LOGGER_VENUE_SETTINGS: dict[str, str] = {
    "ENABLED": "enabled",
    "WS_ENDPOINT": "url",
    "REST_ENDPOINT": "rest_url",
    "SYMBOLS": "symbols",
    "MAX_CONNECTIONS": "max_links",
    "RECONNECT_DELAY_SECS": "reconnect_delay_s",
    "MAX_RECONNECT_DELAY_SECS": "reconnect_cap_s",
}
"""`LOGGER_EXCHANGES_<VENUE>_<one of these>` sets that key of `[venues.<venue>]`."""

SECRETS = frozenset(
    {
        ("database", "url"),
        ("database", "password"),
        ("monitoring", "alert_webhook_url"),
        ("alerts", "smtp_password"),
        ("alerts", "ping_url"),
        ("jupyter", "token"),
        ("web", "secret"),
    }
)
"""Settings that are masked when printed, and that `NAME_FILE` reads from a file."""

_EMPTY_MEANS_NONE = SECRETS | {
    ("database", "host"),
    ("database", "user"),
    ("alerts", "smtp_host"),
}  # elsewhere an empty text means: not set

_LATER = {
    "LOGGER_BUFFER_SIZE": "column files are not written yet",
    "LOGGER_FLUSH_INTERVAL_SECS": "column files are not written yet; journal.fsync_ms bounds what a power cut costs",
}
_LATER_OF_A_VENUE = {"SYMBOLS_PER_CONNECTION": "streams_per_link limits the streams of a connection"}
_REPLACED = {
    "REDIS_": "journals on disk replace Redis",
    "CELERY_": "supervisord replaces Celery",
    "FLOWER_": "`tapedeck status` replaces Flower",
    "BINANCE_API_": "public market data needs no key",
    "GRAFANA_": "`tapedeck status` replaces Grafana",
    "TIMESCALE": "day partitions replace TimescaleDB",
    "SQLALCHEMY_": "DATABASE_URL replaces it",
    "ALEMBIC_": "`tapedeck migrate` replaces Alembic",
    "DOCKER_": "supervisord replaces Docker",
    "COMPOSE_": "supervisord replaces docker-compose",
}
# Other programs use these prefixes in the environment, so there they need no warning.
_REPLACED_IN_DOTENV_ONLY = ("DOCKER_", "COMPOSE_")

_TYPO_CUTOFF = 0.85  # TAPEDECK_HOEM is a typo of TAPEDECK_HOME; TAPEDECK_DATA, which tests read, is not

ABSENT = object()
"""What `get` returns for a key that is not there."""


class Layer(NamedTuple):
    """One source of settings; messages use its name to locate a value."""

    name: str
    values: dict[str, Any]
    warnings: tuple[str, ...] = ()


class Sources(NamedTuple):
    """Every layer, the strongest first, and the TOML file, which is the weakest."""

    layers: list[Layer]
    file: Path


def read(profile_or_file: Path | None, environ: Mapping[str, str] | None) -> Sources:
    """Read all layers.

    Args:
        profile_or_file: Name of a profile or a TOML file. Without it: TAPEDECK_CONFIG, then what the running
            appliance uses, then ./tapedeck.toml, then the profile demo.
        environ: Replaces the environment and `.env` in tests.

    Raises:
        ConfigError: one sentence that names the file or variable, and what to do.
    """
    dotenv = _read_dotenv(Path(".env")) if environ is None and Path(".env").is_file() else {}
    variables = os.environ if environ is None else environ
    layers = [
        _from_variables(variables, "the environment", strict=False),
        _from_variables(dotenv, ".env", strict=True),
    ]
    name = variables.get("TAPEDECK_CONFIG") or dotenv.get("TAPEDECK_CONFIG", "")
    home = Path(next((str(layer.values["home"]) for layer in layers if "home" in layer.values), "var")).expanduser()
    running = running_note(home)
    file = _choose_file(str(profile_or_file) if profile_or_file is not None else name, running)
    if running is not None and running.file == file:
        layers.append(Layer("the running appliance", running.values))
    origin = f"profile {file.stem}" if file.parent == PROFILES else str(file)
    layers.append(Layer(origin, _read_toml(file)))
    return Sources(layers, file)


class RunningNote(NamedTuple):
    """What `tapedeck up` wrote down about the appliance that runs in a home."""

    file: Path
    values: dict[str, Any]  # settings of the running appliance that must not be lost in another terminal
    recorded_into: str  # its `Settings.recorded_into`; empty where it is unknown


def running_note(home: Path) -> RunningNote | None:
    """Read the note of the appliance that runs in `home`; None when none runs."""
    try:
        file, _, rest = (home / "running").read_text().strip().partition("\n")
        values = tomllib.loads(rest)
        return RunningNote(Path(file.strip()), values, str(values.pop("recorded_into", "")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None


def merged(layers: Iterable[Layer]) -> dict[str, Any]:
    """Put layers over each other, the strongest first."""
    values: dict[str, Any] = {}
    for layer in layers:
        values = _merge(layer.values, values)
    return values


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        result[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def get(values: object, path: SettingPath) -> object:
    """Return the value at a path of nested tables, or ABSENT."""
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return ABSENT
        values = values[part]
    return values


def leaves(value: object, path: SettingPath = ()) -> Iterator[tuple[SettingPath, object]]:
    """Yield (path, value) of everything in nested tables that is no table itself; an empty table counts as a value."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def masked(values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings as they are shown: without a login or a key in the address or the options of a venue."""

    def own(venue: dict[str, Any]) -> dict[str, Any]:
        addresses = {key: masked_url(venue[key]) for key in ("url", "rest_url") if venue[key] is not None}
        options = {name: MASK if secret_name(name) else value for name, value in venue["options"].items()}
        return {**venue, **addresses, "options": options}

    return {**values, "venues": {name: own(venue) for name, venue in values["venues"].items()}}


def _choose_file(name: str, running: RunningNote | None) -> Path:
    if not name:
        candidates = ([running.file] if running is not None else []) + [Path("tapedeck.toml")]
        name = next((str(path) for path in candidates if path.is_file()), "demo")
    profile = PROFILES / f"{name}.toml"
    if profile.is_file():
        return profile
    file = Path(name).expanduser().absolute()
    if file.is_file():
        return file
    if file.is_dir():
        raise ConfigError(f"the settings file {name!r} is a folder; name a TOML file in it")
    profiles = sorted(path.stem for path in PROFILES.glob("*.toml"))
    match = difflib.get_close_matches(name, profiles, n=1)
    hint = f"; did you mean {match[0]}?" if match else ""
    known = ", ".join(profiles)
    raise ConfigError(f"there is no settings file {name!r}: name a TOML file or one of the profiles {known}{hint}")


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None


def _read_dotenv(file: Path) -> dict[str, str]:
    try:
        return {name: value or "" for name, value in dotenv_values(file).items()}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None


def _from_variables(variables: Mapping[str, str], origin: str, *, strict: bool) -> Layer:
    """Nest the values of the variables that are ours.

    Args:
        variables: Name -> text.
        origin: Where they stand, for messages.
        strict: Every name must be ours, as in `.env`. The environment belongs to other programs too, so there only a
            name that is nearly one of ours is an error.
    """
    values: dict[str, Any] = {}
    warnings: list[str] = []
    # A long name wins over a flat one, and TAPEDECK_HOME over LOGGER_DATA_PATH, whatever their order.
    for name in sorted(variables, key=lambda name: (name.startswith(PREFIX), name)):
        text = variables[name]
        if name == "TAPEDECK_CONFIG":
            continue
        reason = _without_effect(name, strict=strict)
        if reason is not None:
            warnings.append(f"{name} has no effect: {reason}")
            continue
        path = _path_of(name, origin)
        if path is None and name.endswith("_FILE"):
            path = _path_of(name.removesuffix("_FILE"), origin)
            if path in SECRETS:
                text = _secret_of_file(name, text, variables, origin)
                if not text:
                    continue
            else:
                path = None
        elif path is not None and path not in SECRETS and path[-1].endswith("_file"):
            secret = (*path[:-1], path[-1].removesuffix("_file"))
            if secret in SECRETS:
                path, text = secret, _secret_of_file(name, text, variables, origin)
                if not text:
                    continue
        if path is not None:
            if text or path in _EMPTY_MEANS_NONE:
                _put(values, path, text if path in SECRETS else _parse(text), f"{origin} sets {name}")
        elif strict or _typo(name):
            raise ConfigError(f"{origin} sets {name}, which is unknown{nearest(name, _own_names())}")
    return Layer(origin, values, tuple(warnings))


def _path_of(name: str, origin: str) -> SettingPath | None:
    """Return the setting that a variable sets; None when it is none of ours.

    Raises:
        ConfigError: a name under LOGGER_EXCHANGES_ ends in no setting of a venue.
    """
    if name in FLAT_NAMES:
        return FLAT_NAMES[name]
    if name.startswith(PREFIX):
        return tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))
    if not name.startswith(LOGGER_VENUE):
        return None
    rest = name.removeprefix(LOGGER_VENUE)
    for ending in sorted(LOGGER_VENUE_SETTINGS, key=len, reverse=True):
        venue = rest.removesuffix(f"_{ending}")
        if venue and venue != rest:
            return "venues", venue.lower(), LOGGER_VENUE_SETTINGS[ending]
    known = [*LOGGER_VENUE_SETTINGS, *_LATER_OF_A_VENUE]
    hint = nearest(rest.partition("_")[2], known)
    raise ConfigError(f"{origin} sets {name}, which ends in no setting of a venue{hint}")


def _without_effect(name: str, *, strict: bool) -> str | None:
    """Return why a variable of an earlier system is accepted and does nothing; None for every other name."""
    if name in _LATER:
        return _LATER[name]
    for ending, reason in _LATER_OF_A_VENUE.items():
        if name.startswith(LOGGER_VENUE) and name.endswith(f"_{ending}"):
            return reason
    for prefix, reason in _REPLACED.items():
        if name.startswith(prefix) and (strict or prefix not in _REPLACED_IN_DOTENV_ONLY):
            return reason
    return None


def _secret_of_file(name: str, file: str, variables: Mapping[str, str], origin: str) -> str:
    """Return the secret that a file holds, without the newline at its end; empty when no file is named.

    Raises:
        ConfigError: the file cannot be read, is empty, or the secret is given twice.
    """
    if not file:
        return ""
    plain = name[: -len("_FILE")]
    if variables.get(plain):
        raise ConfigError(f"{origin} sets both {plain} and {name}; remove one of them")
    path = Path(file).expanduser()
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"{origin} sets {name}, but {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{origin} sets {name}, but {path} is not UTF-8 text") from None
    if not text:
        raise ConfigError(f"{origin} sets {name}, but {path} is empty")
    return text


def _own_names() -> list[str]:
    names = [*FLAT_NAMES, "TAPEDECK_CONFIG"]
    return [*names, *(f"{name}_FILE" for name, path in FLAT_NAMES.items() if path in SECRETS)]


def _typo(name: str) -> bool:
    return name.startswith("TAPEDECK_") and bool(difflib.get_close_matches(name, _own_names(), cutoff=_TYPO_CUTOFF))


def _parse(text: str) -> object:
    """Lists and tables may be given as JSON; everything else stays text for the schema to convert."""
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _put(values: dict[str, Any], path: SettingPath, value: object, what: str) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{what} inside a value that is no table")
    values[path[-1]] = value
