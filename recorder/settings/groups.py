"""The groups of settings of all programs but the poller and the watchdog: types, units, defaults and meanings."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from recorder import __version__, portmap
from recorder.settings.errors import DATABASE_NAME, HTTP_ADDRESS, WEBSOCKET_ADDRESS
from recorder.settings.filled import split_commas
from recorder.shards import recorder_names

Words = Annotated[tuple[str, ...], BeforeValidator(split_commas)]
ChannelName = Literal["trade", "quote", "book"]
Channels = Annotated[tuple[ChannelName, ...], BeforeValidator(split_commas)]
Numbers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(split_commas)]
OptionalText = Annotated[str | None, BeforeValidator(lambda value: value or None)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(lambda value: value or None)]


def _require_http(value: SecretStr | None) -> SecretStr | None:
    if value is not None and re.match(HTTP_ADDRESS, value.get_secret_value()) is None:
        raise ValueError("the value (not shown) does not begin with http:// or https://")
    return value


SecretAddress = Annotated[OptionalSecret, AfterValidator(_require_http)]
Level = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]
Port = Annotated[int, Field(ge=1, le=65535)]


class Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class DatabaseSettings(Group):
    """Where rows are stored. Without `url` and `host` the appliance runs a Postgres of its own, the embedded server."""

    url: OptionalSecret = Field(None, description="Postgres to use, postgresql://user:password@host:port/name")
    host: OptionalText = Field(None, description="Host of the Postgres to use, where `url` is unset")
    port: Port = Field(
        portmap.number(portmap.DEFAULT_BASE, portmap.POSTGRES),
        description=f"TCP port of the embedded server: port_base + {portmap.POSTGRES}; of `host`: 5432",
    )
    name: str = Field(
        "tapedeck",
        pattern=DATABASE_NAME,
        description="Database in the embedded server or at `host`; journals of different databases never mix",
    )
    user: OptionalText = Field(None, description="Login at `host`")
    password: OptionalSecret = Field(None, description="Password of that login")


class JournalSettings(Group):
    """The append-only files between the venues and the database."""

    dir: Path = Field(Path(), description="Folder of all journals; unset: journal/<database.name> in the home")
    flush_ms: int = Field(
        10, ge=1, le=10_000, description="Longest wait before a block is written: what a kill -9 can cost"
    )
    fsync_ms: int = Field(
        100, ge=1, le=60_000, description="Longest wait before blocks reach the disk: what a power cut can cost"
    )
    segment_mb: int = Field(64, ge=1, description="A segment is closed at this size, MiB")
    segment_minutes: int = Field(60, ge=1, description="A segment is closed at this age, minutes")
    retention_days: float = Field(7, ge=0, description="Loaded segments are kept this long, days")
    retention_gb: float = Field(20, ge=0, description="Loaded segments are kept up to this total size, GiB")
    reserve_mb: int = Field(
        512, ge=0, description="Disk space left free, MiB; below it frames are dropped and declared as gaps"
    )
    pending_mb: int = Field(
        64, ge=1, description="Memory for frames not on disk yet, MiB; above it frames are dropped and declared as gaps"
    )


class WriterSettings(Group):
    """The process that loads journals into Postgres."""

    batch_mb: float = Field(8, gt=0, description="Largest transaction, MiB")
    batch_ms: float = Field(10, ge=0, description="Longest wait for a transaction to fill, ms")
    max_lag_s: float = Field(
        60, gt=0, description="Behind the journals by more than this, the writer reports that it is degraded"
    )
    reserve_mb: int | None = Field(
        None,
        ge=0,
        description="Disk space kept free for the embedded Postgres, MiB: below it nothing is loaded. Unset: "
        "what its WAL may need, 2.5 GiB on a disk of 16 GiB or more",
    )


class DeriverSettings(Group):
    """The process that derives bars from the trades in Postgres."""

    enabled: bool = Field(True, description="Start it with the appliance; without it bars are marked and not derived")
    lateness_s: float = Field(
        2.0, ge=0, le=3600, description="A bar is complete when all that came until so long after its end is loaded"
    )
    forming_s: float = Field(
        1.0, ge=0.05, le=60, description="Bars that still form are derived so often; those that are over at once"
    )
    max_lag_s: float = Field(
        60, gt=0, description="Behind the trades in Postgres by more than this, the deriver reports that it is degraded"
    )


class WebsocketSettings(Group):
    """How connections are kept alive."""

    max_retries: int = Field(-1, ge=-1, description="Attempts before a connection gives up; -1: it never does")
    reconnect_delay_s: float = Field(
        1.0, gt=0, le=3600, description="First upper bound of the random delay, doubled at each failure"
    )
    reconnect_cap_s: float = Field(60.0, gt=0, le=3600, description="Highest upper bound of that delay")
    settled_after_s: float = Field(
        30.0, ge=0, le=3600, description="Age at which a session with data makes the delay begin again at the first"
    )
    start_interval_s: float = Field(
        2.0, ge=0, le=60, description="Least time between the first connects of two connections of a venue"
    )
    reconnect_interval_s: float = Field(
        3.0, ge=0, le=60, description="Least time between any later connect and the one before it at this venue"
    )
    health_check_interval_s: float = Field(1.0, gt=0, description="Time between two checks for silence")
    max_no_data_s: float = Field(120.0, gt=0, description="A connection without market data for this long is replaced")
    heartbeat_interval_s: float = Field(5.0, gt=0, description="Time between two pings")
    heartbeat_timeout_s: float = Field(5.0, gt=0, description="A ping unanswered for this long ends the connection")
    user_agent: str = Field(f"tapedeck/{__version__}", description="User-Agent that venues see")
    max_frame_mb: float = Field(32, gt=0, description="A larger message is skipped, quarantined and declared, MiB")


class MonitoringSettings(Group):
    """What the appliance reports about itself."""

    enabled: bool = Field(
        True, description="Log summaries of metrics, and send messages about alerts and the pings of the watchdog"
    )
    metrics_interval_s: float = Field(60.0, gt=0, description="Time between two summaries")
    book_check_s: float = Field(
        3600.0, ge=1, description="Time between two comparisons of a recorded book with the venue's REST service"
    )
    alert_webhook_url: SecretAddress = Field(
        None, description="Address that alerts are posted to: Slack, Discord, Telegram, or a webhook of your own"
    )


class LogSettings(Group):
    """How programs log."""

    level: Level = Field("INFO", description="Lowest level that is written: DEBUG, INFO, WARNING, ERROR")
    format: Literal["keyvalue", "json"] = Field("keyvalue", description="Form of a line: keyvalue, json")
    debug: bool = Field(False, description="Write DEBUG too, at any level")


class RestSettings(Group):
    """Requests to the REST service of one venue, and the circuit breaker that stops them while the service fails."""

    per_s: float | None = Field(
        None,
        gt=0,
        description="Units of the request budget regained in a second; unset: our share of the venue's limit, "
        "which is also the most, except where `rest_url` is on loopback",
    )
    retries: int = Field(4, ge=0, le=20, description="Further attempts at a request whose failure may pass")
    failures_to_open: int = Field(
        5, ge=1, le=100, description="Failures in a row after which requests stop, except for one trial now and then"
    )
    open_s: float = Field(30.0, ge=1, le=900, description="Time between two of those trials")


class VenueSettings(Group):
    """One venue to record. `{port}` in an address is the port of the simulated venue."""

    enabled: bool = Field(True, description="Whether the appliance records it")
    url: str | None = Field(
        None, pattern=WEBSOCKET_ADDRESS, description="WebSocket endpoint; unset: the venue's public one"
    )
    rest_url: str | None = Field(None, pattern=HTTP_ADDRESS, description="REST endpoint; unset: the venue's public one")
    symbols: Words = Field((), description="First subscriptions; after the first start the table subscription decides")
    channels: Channels = Field(
        ("trade", "quote", "book"), description="Channels to record of each symbol: trade, quote, book"
    )
    processes: int = Field(1, ge=1, le=99, description="Recorder processes, each with a part of the symbols")
    shards: Numbers = Field(
        (),
        description="Which of them run on this host, by number from 0, where a venue is spread over hosts; unset: all",
    )
    max_links: int | None = Field(
        None,
        ge=1,
        description="Connections of one process; unset: as many as the venue lets open in a minute, which is also the "
        "most for all processes together",
    )
    streams_per_link: int | None = Field(
        None, ge=1, description="Streams of one connection; unset: the venue's limit, which is also the most"
    )
    connects_per_minute: int | None = Field(
        None,
        ge=1,
        description="Connects in any minute of all processes of this home together; unset: the venue's limit, which is "
        "also the most, except where `url` is on loopback",
    )
    reconnect_delay_s: float | None = Field(
        None, gt=0, le=3600, description="Like websocket.reconnect_delay_s, for this venue; unset: the same"
    )
    reconnect_cap_s: float | None = Field(
        None, gt=0, le=3600, description="Like websocket.reconnect_cap_s, for this venue; unset: the same"
    )
    rest: RestSettings = RestSettings()
    options: dict[str, bool | int | float | str] = Field(
        {}, description="Options that only this venue has, such as book_depth"
    )

    @model_validator(mode="after")
    def _require_shards(self) -> Self:
        """Refuse a number that no process has, or one twice."""
        if len(set(self.shards)) < len(self.shards) or any(number >= self.processes for number in self.shards):
            raise ValueError(f"shards must be different numbers below processes ({self.processes})")
        return self

    def recorders(self, venue: str) -> list[str]:
        """Return the names of the processes that record this venue on this host."""
        names = recorder_names(venue, self.processes)
        return [names[number] for number in self.numbers()]

    def numbers(self) -> list[int]:
        """Return the numbers of those processes, from 0."""
        return sorted(self.shards) if self.shards else list(range(self.processes))


class SimulatorSettings(Group):
    """Simulated venues on loopback, for the offline profile."""

    enabled: bool = Field(False, description="Start them with the appliance")
    venues: Words = Field((), description="Venues to simulate; the order decides their ports")
    ports: dict[str, Port] = Field(
        {}, description=f"Port of a simulated venue; unset: port_base + {portmap.FIRST_VENUE} + its place in `venues`"
    )
    services: Words = Field(
        (),
        description="Services that have REST only: gamma, clob, data, yahoo; the order decides their ports",
    )
    service_ports: dict[str, Port] = Field(
        {},
        description=f"Port of a simulated service; unset: port_base + {portmap.FIRST_SERVICE} + its place in the list",
    )
    markets: int = Field(
        60, ge=10, le=10_000, description="Open markets of the simulated Gamma and CLOB, beside those of the stream"
    )
    trades_per_s: float = Field(
        2.0, ge=0, le=100, description="Trades a second of those markets, in the feed of the Data API"
    )
    control_port: Port = Field(
        portmap.number(portmap.DEFAULT_BASE, portmap.SIMULATOR_CONTROL),
        description=f"Port that takes requests for faults: port_base + {portmap.SIMULATOR_CONTROL}",
    )
    seed: int = Field(1, description="Seed of the market; the same seed gives the same market")
    rate: float = Field(200.0, ge=0, description="Market messages per second and venue")
    truth_dir: Path = Field(
        Path(), description="Folder of the logs of what was really sent; unset: simulator in the home"
    )


class JupyterSettings(Group):
    """JupyterLab on the notebooks."""

    enabled: bool = Field(False, description="Start it with the appliance; needs the extra `analysis`")
    port: Port = Field(
        portmap.number(portmap.DEFAULT_BASE, portmap.JUPYTER), description=f"TCP port: port_base + {portmap.JUPYTER}"
    )
    token: OptionalSecret = Field(
        None, description="Token that a browser must show; unset: made once, in jupyter.token of the home"
    )
