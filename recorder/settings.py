"""Every setting of Tapedeck: a TOML file, then `.env`, then the environment; the later wins.

A nested setting is `TAPEDECK__JOURNAL__FLUSH_MS` in the environment; the names in `FLAT_NAMES` work as they are.
Nothing else in the project reads the environment.
"""

import difflib
import json
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from recorder import __version__
from recorder.errors import ConfigError

PROFILES = Path(__file__).parent / "profiles"
PREFIX = "TAPEDECK__"

FLAT_NAMES: dict[str, tuple[str, ...]] = {
    "TAPEDECK_HOME": ("home",),
    "DATABASE_URL": ("database", "url"),
    "WEBSOCKET_MAX_RETRIES": ("websocket", "max_retries"),
    "WEBSOCKET_RECONNECT_DELAY": ("websocket", "reconnect_delay_s"),
    "CONNECTION_HEALTH_CHECK_INTERVAL": ("websocket", "health_check_interval_s"),
    "MAX_NO_DATA_SECONDS": ("websocket", "max_no_data_s"),
    "HEARTBEAT_INTERVAL": ("websocket", "heartbeat_interval_s"),
    "HEARTBEAT_TIMEOUT": ("websocket", "heartbeat_timeout_s"),
    "MONITORING_ENABLED": ("monitoring", "enabled"),
    "METRICS_REPORTING_INTERVAL": ("monitoring", "metrics_interval_s"),
    "ALERT_WEBHOOK_URL": ("monitoring", "alert_webhook_url"),
    "JUPYTER_TOKEN": ("jupyter", "token"),
    "LOG_LEVEL": ("log", "level"),
    "DEBUG": ("log", "debug"),
}
_OWN_NAMES = [*FLAT_NAMES, "TAPEDECK_CONFIG"]
_A_SLIP = 0.85  # TAPEDECK_HOEM is one of TAPEDECK_HOME; TAPEDECK_DATA, which tests read, is none


def _split_commas(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_split_commas)]
ChannelName = Literal["trade", "quote", "book"]
Channels = Annotated[tuple[ChannelName, ...], BeforeValidator(_split_commas)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(lambda value: value or None)]
Level = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class DatabaseSettings(_Group):
    """Where the rows go."""

    url: OptionalSecret = Field(None, description="Postgres to use (DATABASE_URL); unset starts the embedded server")
    name: str = Field("tapedeck", pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="Database in the embedded server")
    port: Port = Field(54329, description="TCP port of the embedded server on 127.0.0.1")


class JournalSettings(_Group):
    """The append-only files between the venues and the database."""

    dir: Path = Field(Path(), description="Folder of all journals; default: journal/<database.name> in home")
    flush_ms: int = Field(
        10, ge=1, le=10_000, description="A block is written at least this often: the loss of a kill -9"
    )
    fsync_ms: int = Field(
        100, ge=1, le=60_000, description="Blocks reach the disk at least this often: the loss of a power cut"
    )
    segment_mb: int = Field(64, ge=1, description="A segment is closed at this size")
    segment_minutes: int = Field(60, ge=1, description="A segment is closed at this age")
    retention_days: float = Field(7, ge=0, description="Loaded segments are kept this long")
    retention_gb: float = Field(20, ge=0, description="Loaded segments are kept up to this size in all")
    reserve_mb: int = Field(512, ge=0, description="Disk space left free; below it recording sheds and declares gaps")
    pending_mb: int = Field(64, ge=1, description="Most memory for frames not yet on disk; above it recording sheds")


class WriterSettings(_Group):
    """The process that loads journals into Postgres."""

    batch_mb: float = Field(8, gt=0, description="Largest transaction")
    batch_ms: float = Field(10, ge=0, description="Longest wait for a transaction to fill")
    partitions_ahead_days: int = Field(14, ge=1, le=366, description="Day partitions made in advance")


class WebsocketSettings(_Group):
    """How connections are kept alive."""

    max_retries: int = Field(-1, ge=-1, description="Attempts before a link gives up; -1 never")
    reconnect_delay_s: float = Field(
        1.0, gt=0, description="First ceiling of the jittered delay, doubled at each failure"
    )
    reconnect_cap_s: float = Field(60.0, gt=0, description="Highest ceiling of that delay")
    health_check_interval_s: float = Field(1.0, gt=0, description="How often silence is looked for")
    max_no_data_s: float = Field(120.0, gt=0, description="A link with no market data for this long is made anew")
    heartbeat_interval_s: float = Field(5.0, gt=0, description="Between pings")
    heartbeat_timeout_s: float = Field(5.0, gt=0, description="An unanswered ping ends the session after this long")
    user_agent: str = Field(f"tapedeck/{__version__}", description="How we introduce ourselves to a venue")
    max_frame_mb: float = Field(32, gt=0, description="A larger message is skipped, quarantined and declared")


class MonitoringSettings(_Group):
    """What the appliance says about itself."""

    enabled: bool = Field(True, description="Log a summary of metrics")
    metrics_interval_s: float = Field(60.0, gt=0, description="Between two summaries")
    alert_webhook_url: OptionalSecret = Field(
        None, description="Where the watchdog will post alerts; nothing posts yet"
    )


class LogSettings(_Group):
    """How programs log."""

    level: Level = Field("INFO", description="Least level that is written")
    format: Literal["keyvalue", "json"] = Field("keyvalue", description="One line per event in this form")
    debug: bool = Field(False, description="Write DEBUG too, whatever the level says")


class VenueSettings(_Group):
    """One venue to record."""

    enabled: bool = Field(True, description="Whether it has a recorder")
    url: str | None = Field(None, pattern=r"^wss?://", description="WebSocket endpoint; unset: the venue's public one")
    rest_url: str | None = Field(
        None, pattern=r"^https?://", description="REST endpoint; unset: the venue's public one"
    )
    symbols: Words = Field((), description="First subscriptions; afterwards the table subscription decides")
    channels: Channels = Field(("trade", "quote", "book"), description="What to record of each symbol")
    processes: int = Field(1, ge=1, le=99, description="Recorder processes, each with its share of the symbols")
    max_links: int | None = Field(
        None, ge=1, description="Connections of one process at most; unset: as many as the venue lets open in a minute"
    )
    options: dict[str, bool | int | float | str] = Field(
        {}, description="What only this venue knows, such as book_depth"
    )


class DiscoverySettings(_Group):
    """The process that keeps the lists of what venues trade."""

    enabled: bool = Field(True, description="Start it with the appliance")
    interval_s: float = Field(3600.0, ge=60, description="Between two looks at a venue's list")


class SimulatorSettings(_Group):
    """The simulated venues of the offline profile."""

    enabled: bool = Field(False, description="Start it with the appliance")
    ports: dict[str, Port] = Field({}, description="Loopback port of each simulated venue")
    control_port: Port = Field(54410, description="Loopback port that takes requests to misbehave")
    seed: int = Field(1, description="Of the market; the same seed gives the same market")
    rate: float = Field(200.0, ge=0, description="Market messages per second and venue")
    truth_dir: Path = Field(
        Path(), description="Folder of the logs of what was really sent; default: simulator in home"
    )


class JupyterSettings(_Group):
    """JupyterLab on the notebooks."""

    enabled: bool = Field(False, description="Start it with the appliance; needs the analysis extra")
    port: Port = Field(54330, description="TCP port on 127.0.0.1")
    token: OptionalSecret = Field(
        None, description="What a browser must show (JUPYTER_TOKEN); unset: made once, in jupyter.token of the home"
    )


class Settings(BaseSettings):
    """All settings; made by `load`, never changed afterwards."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    home: Path = Field(Path("var"), description="State of the appliance (TAPEDECK_HOME); made absolute")
    database: DatabaseSettings = DatabaseSettings()
    journal: JournalSettings = JournalSettings()
    writer: WriterSettings = WriterSettings()
    websocket: WebsocketSettings = WebsocketSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    log: LogSettings = LogSettings()
    venues: dict[str, VenueSettings] = {}
    simulator: SimulatorSettings = SimulatorSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    jupyter: JupyterSettings = JupyterSettings()

    _file: Path = PrivateAttr(default=Path())
    _layers: "list[_Layer]" = PrivateAttr(default_factory=list)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` passes: it has read and merged the layers, and knows where each value came from."""
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _fill_paths(cls, data: dict[str, Any]) -> dict[str, Any]:
        home = Path(str(data.get("home", "var"))).expanduser().absolute()
        database = data.get("database", {})
        name = database.get("name", "tapedeck") if isinstance(database, dict) else "tapedeck"
        filled = {**data, "home": home}
        # One journal folder per database: a demo's tape must never be loaded into the database of the real one.
        for group, key, default in (
            ("journal", "dir", home / "journal" / str(name)),
            ("simulator", "truth_dir", home / "simulator"),
        ):
            values = data.get(group, {})
            if isinstance(values, dict):
                given = values.get(key)
                filled[group] = {**values, key: Path(str(given)).expanduser().absolute() if given else default}
        return filled

    @classmethod
    def load(cls, profile_or_file: Path | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """Read all layers.

        Args:
            profile_or_file: Name of a profile ("demo", "live") or a TOML file. Without it: TAPEDECK_CONFIG, then
                what the running appliance uses, then ./tapedeck.toml, then the demo profile.
            environ: Stands in for the environment and for `.env` in tests.

        Raises:
            ConfigError: one sentence that names the file or variable, the key, and what to do.
        """
        layers: list[_Layer] = []
        if environ is None:
            layers.append(_Layer("the environment", _from_variables(os.environ, "the environment", strict=False)))
            if Path(".env").is_file():
                layers.append(_Layer(".env", _from_variables(_read_dotenv(Path(".env")), ".env", strict=True)))
            environ = os.environ
        else:
            layers.append(_Layer("the environment", _from_variables(environ, "the environment", strict=False)))
        file = _choose_file(profile_or_file, environ)
        layers.append(_Layer(str(file), _read_toml(file)))
        merged: dict[str, Any] = {}
        for layer in reversed(layers):
            merged = _merge(merged, layer.values)
        try:
            settings = cls(**merged)
        except ValidationError as error:
            raise ConfigError(_sentence(error, layers)) from None
        settings._file = file
        settings._layers = layers
        return settings

    @property
    def file(self) -> Path:
        """The TOML file these settings come from, absolute."""
        return self._file

    def with_log(self, log: LogSettings) -> Self:
        """The same settings with another log."""
        return self.model_copy(update={"log": log})

    def environment(self) -> dict[str, str]:
        """The environment of a program that shall have these settings, and find the tools of this Python first."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, "PATH": path, "TAPEDECK_HOME": str(self.home), "TAPEDECK_CONFIG": str(self._file)}

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """(key, value, origin) of every setting, secrets masked."""
        for path, value in _leaves(self.model_dump(mode="json"), ()):
            origin = next((layer.name for layer in self._layers if _get(layer.values, path) is not _ABSENT), "default")
            yield ".".join(path), json.dumps(value), origin


class _Layer(NamedTuple):
    """One source of settings, for messages that say where a value stands."""

    name: str
    values: dict[str, Any]


_ABSENT = object()


def _choose_file(given: Path | None, environ: Mapping[str, str]) -> Path:
    home = Path(environ.get("TAPEDECK_HOME") or "var")
    name = str(given) if given is not None else environ.get("TAPEDECK_CONFIG", "")
    if not name:
        running = running_config(home.expanduser())
        name = next((str(path) for path in (running, Path("tapedeck.toml")) if path and path.is_file()), "demo")
    profile = PROFILES / f"{name}.toml"
    if profile.is_file():
        return profile
    file = Path(name).expanduser().absolute()
    if file.is_file():
        return file
    known = ", ".join(sorted(path.stem for path in PROFILES.glob("*.toml")))
    raise ConfigError(f"there is no settings file {name!r}: name a TOML file or one of the profiles {known}")


def running_config(home: Path) -> Path | None:
    """The settings file of the appliance running in `home`, which `tapedeck up` noted; None when none runs."""
    try:
        return Path((home / "running").read_text().strip())
    except OSError:
        return None


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


def _from_variables(variables: Mapping[str, str], origin: str, *, strict: bool) -> dict[str, Any]:
    """Nested values of the variables that are ours.

    Args:
        variables: Name -> text.
        origin: Where they stand, for the message.
        strict: Every name must be ours (`.env`). The environment belongs to others too, so there only a name that
            all but spells one of ours is taken for a slip.
    """
    values: dict[str, Any] = {}
    for name, text in variables.items():
        if name == "TAPEDECK_CONFIG":
            continue
        if name in FLAT_NAMES:
            path = FLAT_NAMES[name]
        elif name.startswith(PREFIX):
            path = tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))
        elif strict or (name.startswith("TAPEDECK_") and difflib.get_close_matches(name, _OWN_NAMES, cutoff=_A_SLIP)):
            raise ConfigError(f"{origin} sets {name}, which is unknown{_nearest(name, _OWN_NAMES)}")
        else:
            continue
        if text or path in (("database", "url"), ("monitoring", "alert_webhook_url")):  # empty: unset
            _put(values, path, _parse(text))
    return values


def _parse(text: str) -> object:
    """Lists and tables may be given as JSON; everything else stays text for pydantic to convert."""
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _put(values: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise ConfigError(f"the environment sets {PREFIX}{'__'.join(path).upper()} inside a value that is no table")
    values[path[-1]] = value


def _get(values: object, path: tuple[str, ...]) -> object:
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return _ABSENT
        values = values[part]
    return values


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    else:
        yield path, value


def _sentence(error: ValidationError, layers: list[_Layer]) -> str:
    """The first fault as one sentence: where, which key, what is wrong."""
    fault = error.errors(include_url=False)[0]
    path = tuple(str(part) for part in fault["loc"])
    while path and all(_get(layer.values, path) is _ABSENT for layer in layers):
        path = path[:-1]  # pydantic appends names of union members and list positions
    where = next((layer.name for layer in layers if _get(layer.values, path) is not _ABSENT), layers[-1].name)
    key = ".".join(path)
    if fault["type"] == "extra_forbidden":
        return f"{where} has an unknown key {key}{_nearest(path[-1], _known_keys(path[:-1]))}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{where} has a wrong value for {key}: {message[:1].lower()}{message[1:]}"


def _known_keys(path: tuple[str, ...]) -> list[str]:
    """Names of the settings in the group at `path`."""
    if not path:
        return list(Settings.model_fields)
    if path[0] == "venues":
        return list(VenueSettings.model_fields)
    group = Settings.model_fields[path[0]].annotation
    return list(group.model_fields) if isinstance(group, type) and issubclass(group, BaseModel) else []


def _nearest(name: str, known: list[str]) -> str:
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if match:
        return f"; did you mean {match[0]}?"
    return f"; known are {', '.join(known)}" if known else ""
