"""All settings of one appliance, loaded from their sources and checked.

`groups.py` and `polled.py` hold the schema, `sources.py` reads the values. A nested setting is
`TAPEDECK__JOURNAL__FLUSH_MS` in the environment.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from recorder import portmap
from recorder.errors import ConfigError, nearest
from recorder.portmap import PortUse
from recorder.settings import errors, filled, sources
from recorder.settings.groups import (
    DatabaseSettings,
    DeriverSettings,
    Group,
    JournalSettings,
    JupyterSettings,
    LogSettings,
    MonitoringSettings,
    RestSettings,
    SimulatorSettings,
    VenueSettings,
    WebsocketSettings,
    WriterSettings,
)
from recorder.settings.polled import BackfillSettings, PollerSettings, YahooSettings
from recorder.settings.served import WebSettings
from recorder.settings.sources import ABSENT, SECRETS, Layer, SettingPath
from recorder.settings.watched import AlertSettings, RuleSettings, WatchdogSettings

EMBEDDED = "the embedded Postgres"
UNREADABLE = "a database whose address cannot be read"


class Settings(Group):
    """All settings; made by `load`, never changed afterwards."""

    home: Path = Field(Path("var"), description="Folder of all state: journals, database, logs; made absolute")
    ca_file: Annotated[Path | None, BeforeValidator(lambda value: value or None)] = Field(
        None,
        description="PEM file of the only certificate authorities to trust, for WebSocket and REST; unset: those of "
        "the system, or of SSL_CERT_FILE",
    )
    python: Annotated[Path | None, BeforeValidator(lambda value: value or None)] = Field(
        None,
        description="Command that starts the programs in place of a Python; unset: the Python of this command. A "
        "deployment names one that leads to the release in use",
    )
    budgets_dir: Path = Field(
        Path(),
        description="Folder of the budgets of requests and connects, for all programs; unset: the home. Two homes "
        "of one user on one machine need the same one, because a venue counts by address",
    )
    port_base: int = Field(
        portmap.DEFAULT_BASE,
        ge=1024,
        le=65536 - portmap.RANGE,
        description=f"First of the {portmap.RANGE} ports on 127.0.0.1; an appliance beside another one needs its own",
    )
    database: DatabaseSettings = DatabaseSettings()
    journal: JournalSettings = JournalSettings()
    writer: WriterSettings = WriterSettings()
    deriver: DeriverSettings = DeriverSettings()
    websocket: WebsocketSettings = WebsocketSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    log: LogSettings = LogSettings()
    venues: dict[str, VenueSettings] = Field({})
    simulator: SimulatorSettings = SimulatorSettings()
    poller: PollerSettings = PollerSettings()
    backfill: BackfillSettings = BackfillSettings()
    yahoo: YahooSettings = YahooSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    alerts: AlertSettings = AlertSettings()
    web: WebSettings = WebSettings()
    jupyter: JupyterSettings = JupyterSettings()

    _file: Path = PrivateAttr(default=Path())
    _layers: list[Layer] = PrivateAttr(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Replace unset paths, ports and addresses by what follows from other settings."""
        data = {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()}
        filled.fill(data)
        return data

    @model_validator(mode="after")
    def _require_addresses(self) -> Self:
        """Refuse an address without its port. A wrong value elsewhere can cause that, so values are checked first."""
        for name, venue in self.venues.items():
            for key, address in (("url", venue.url), ("rest_url", venue.rest_url)):
                if "{port}" in (address or ""):
                    raise ConfigError(f"venues.{name}.{key} has {{port}}, but simulator.venues does not list {name}")
        for name, address in self.poller.services.items():
            if "{port}" in address:
                raise ConfigError(f"poller.services.{name} has {{port}}, but simulator.services does not list {name}")
        return self

    @classmethod
    def load(cls, profile_or_file: Path | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """Read all layers.

        Args:
            profile_or_file: Name of a profile ("demo", "live") or a TOML file. Without it: TAPEDECK_CONFIG, then
                what the running appliance uses, then ./tapedeck.toml, then the demo profile.
            environ: Replaces the environment and `.env` in tests.

        Raises:
            ConfigError: one sentence that names the file or variable, the key, and what to do.
        """
        layers, file = sources.read(profile_or_file, environ)
        try:
            settings = cls(**_without_mere_endpoints(sources.merged(layers), layers[-1].values))
        except ValidationError as error:
            raise ConfigError(_sentence(error, layers)) from None
        settings._file = file
        settings._layers = layers
        return settings

    @property
    def file(self) -> Path:
        """The TOML file these settings come from, absolute."""
        return self._file

    def files_with_secrets(self) -> list[Path]:
        """Return the TOML file where it sets a secret; a secret of `.env` or of the environment is not in it."""
        values = self._layers[-1].values if self._layers else {}
        return [self._file] if any(sources.get(values, path) is not ABSENT for path in SECRETS) else []

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each variable that was accepted and does nothing."""
        found = [warning for layer in self._layers for warning in layer.warnings]
        if self.database.host is None and (self.database.user or self.database.password) and not self.database.url:
            found.append("DB_USER and DB_PASSWORD have no effect: DB_HOST is not set, so the embedded Postgres is used")
        return tuple(dict.fromkeys(found))

    def with_log(self, log: LogSettings) -> Self:
        """Return the same settings with another log."""
        return self.model_copy(update={"log": log})

    def for_venue(self, name: str) -> Self:
        """Return the same settings with the reconnect delays of one venue in their general place."""
        venue = self.venues[name]
        own = {"reconnect_delay_s": venue.reconnect_delay_s, "reconnect_cap_s": venue.reconnect_cap_s}
        changed = self.websocket.model_copy(update={key: value for key, value in own.items() if value is not None})
        return self.model_copy(update={"websocket": changed})

    def environment(self) -> dict[str, str]:
        """Return the environment for a program with these settings that finds the tools of this Python first."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, "PATH": path, "TAPEDECK_HOME": str(self.home), "TAPEDECK_CONFIG": str(self._file)}

    def running_note(self) -> str:
        """Return the content of the file `running`, which the home has while the appliance runs.

        The port base is part of it, so that `tapedeck psql` in another terminal needs no variable. The database is
        part of it, so that `tapedeck status` notices settings that name another one.
        """
        return f"{self._file}\nport_base = {self.port_base}\nrecorded_into = {json.dumps(self.recorded_into)}\n"

    @property
    def recorded_into(self) -> str:
        """The database as a person names it, without login and password."""
        if self.database.url is None:
            return f"{EMBEDDED} ({self.database.name})"
        url = self.database.url.get_secret_value()
        try:
            parts = urlsplit(url)
        except ValueError:
            return UNREADABLE
        # A password with a reserved character would pass for the host.
        if parts.scheme not in ("postgres", "postgresql") or ("@" in url and "@" not in parts.netloc):
            return UNREADABLE
        host = ",".join(parse_qs(parts.query).get("host", [])) or parts.netloc.rpartition("@")[2] or "localhost"
        return f"{host}{parts.path}"

    def port_table(self) -> list[PortUse]:
        """Return every port on 127.0.0.1, by number."""
        simulator = self.simulator
        table = [
            PortUse(self.web.port, "the web pages and API", "web.port", self.web.enabled),
            PortUse(self.watchdog.port, "the watchdog", "watchdog.port", self.watchdog.enabled),
            PortUse(self.jupyter.port, "JupyterLab", "jupyter.port", self.jupyter.enabled),
            PortUse(simulator.control_port, "the simulator", "simulator.control_port", simulator.enabled),
        ]
        for name, port in simulator.ports.items():
            table.append(PortUse(port, f"the simulated {name}", f"simulator.ports.{name}", simulator.enabled))
        for name, port in simulator.service_ports.items():
            table.append(PortUse(port, f"the simulated {name}", f"simulator.service_ports.{name}", simulator.enabled))
        if self.database.url is None:
            table.append(PortUse(self.database.port, "the embedded Postgres", "database.port", True))
        return sorted(table)

    def shown(self) -> dict[str, Any]:
        """Return all values as JSON has them, secrets masked."""
        return sources.masked(self.model_dump(mode="json"))

    def rows(self) -> Iterator[tuple[str, object, str]]:
        """Yield (key, value, origin) of every setting, secrets masked."""
        for path, value in sources.leaves(self.shown()):
            yield ".".join(path), value, self._origin(path)

    def _origin(self, path: SettingPath) -> str:
        given = next((layer.name for layer in self._layers if sources.get(layer.values, path) is not ABSENT), "")
        if given:
            return given
        match path:
            case ("database", "url") if self.database.url is not None:
                return "database.host"
            case ("database", "port") if self.database.host is not None:
                return "default of Postgres"
            case (("watchdog" | "web"), "port") if self.port_base == portmap.DEFAULT_BASE:
                return "default"
            case (
                ("database" | "jupyter" | "watchdog" | "web", "port")
                | ("simulator", "control_port")
                | ("simulator", "ports", _)
            ):
                port = sources.get(self.model_dump(), path)
                return f"port_base + {int(str(port)) - self.port_base}"
        return "default"


def _without_mere_endpoints(merged: dict[str, Any], file: dict[str, Any]) -> dict[str, Any]:
    """Disable a venue that the file does not name and of which only `url` is set.

    WEBSOCKET_URL gives the endpoint of a venue; it does not ask for a recording.
    """
    venues, listed = merged.get("venues"), file.get("venues")
    if not isinstance(venues, dict):
        return merged
    named = listed.keys() if isinstance(listed, dict) else ()
    changed = {
        name: {**values, "enabled": False}
        if name not in named and isinstance(values, dict) and values.keys() == {"url"}
        else values
        for name, values in venues.items()
    }
    return {**merged, "venues": changed}


def _sentence(error: ValidationError, layers: list[Layer]) -> str:
    """Return the first fault as one sentence: where, which key, what is wrong."""
    fault = error.errors(include_url=False)[0]
    path = tuple(str(part) for part in fault["loc"])
    while path and all(sources.get(layer.values, path) is ABSENT for layer in layers):
        path = path[:-1]  # pydantic appends names of union members and list positions
    given = (layer.name for layer in layers if sources.get(layer.values, path) is not ABSENT)
    where = next(given, layers[-1].name)
    key = ".".join(path)
    if fault["type"] == "extra_forbidden":
        hint = nearest(path[-1], _known_keys(path[:-1]))
        return f"{where} has an unknown key {key}{hint}"
    secret = any(one[: len(path)] == path for one in SECRETS) or any(path[: len(one)] == one for one in SECRETS)
    return f"{where} has a wrong value for {key}: {errors.reason(fault, secret=secret)}"


def _known_keys(path: SettingPath) -> list[str]:
    """Return the names of the settings in the group at `path`."""
    if not path:
        return list(Settings.model_fields)
    if path[0] == "venues":
        return list((RestSettings if path[2:3] == ("rest",) else VenueSettings).model_fields)
    if path[:2] == ("watchdog", "rules"):
        return list(RuleSettings.model_fields)
    group = Settings.model_fields[path[0]].annotation
    return list(group.model_fields) if isinstance(group, type) and issubclass(group, BaseModel) else []
