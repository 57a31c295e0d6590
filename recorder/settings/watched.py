"""The groups of settings of the watchdog and its alerts: types, units, defaults and meanings."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from recorder import portmap
from recorder.settings.groups import Group, OptionalSecret, OptionalText, Port, SecretAddress, Words


class RuleSettings(Group):
    """What is different for one rule."""

    enabled: bool = Field(True, description="Whether the rule is judged")
    threshold: float | None = Field(None, description="Its limit, in the unit of the rule; unset: its own")
    for_s: float | None = Field(
        None, ge=0, le=604_800, description="How long its condition must hold before it fires; unset: its own"
    )


class WatchdogSettings(Group):
    """The program that judges all others, answers /health, /critical and /metrics on loopback, and keeps the alerts."""

    enabled: bool = Field(True, description="Start it with the appliance")
    port: Port = Field(
        portmap.number(portmap.DEFAULT_BASE, portmap.WATCHDOG),
        description=f"TCP port on 127.0.0.1: 8080, and with another port_base that + {portmap.WATCHDOG}",
    )
    every_s: float = Field(5.0, ge=0.2, le=60, description="Time between two rounds of evidence")
    disk_warn_percent: float = Field(90, gt=0, le=100, description="Use of a disk that is a warning, percent")
    disk_critical_percent: float = Field(95, gt=0, le=100, description="Use of a disk that is critical, percent")
    connections_warn_percent: float = Field(
        90, gt=0, le=100, description="Use of the connections of Postgres that is a warning, percent"
    )
    connections_critical_percent: float = Field(
        95, gt=0, le=100, description="Use of the connections of Postgres that is critical, percent"
    )
    no_data_s: float = Field(300, gt=0, description="Without market data of any venue for this long it is critical")
    success_warn_percent: float = Field(
        90, ge=0, le=100, description="Success of the polls of the last hour below which it is a warning, percent"
    )
    success_critical_percent: float = Field(
        80, ge=0, le=100, description="Success of the polls of the last hour below which it is critical, percent"
    )
    backlog_warn: int = Field(500, ge=1, description="Slots of polls that are overdue, above which it is a warning")
    backlog_critical: int = Field(
        1_000, ge=1, description="Slots of polls that are overdue, above which it is critical"
    )
    lag_critical_s: float = Field(60, gt=0, description="Postgres this far behind the journals is critical")
    clear_s: float = Field(
        15, ge=0, le=86_400, description="A condition must be gone for this long before its alert is resolved"
    )
    restart_stuck: bool = Field(
        True, description="Restart a program that runs and does nothing of its own any more, through supervisord"
    )
    restart_stuck_s: float = Field(
        90, ge=15, le=86_400, description="So long nothing of a program must have moved before it is restarted"
    )
    trades_interval_s: float = Field(
        60,
        ge=10,
        le=3600,
        description="Length of the intervals of the trade figures; they begin at multiples of it, UTC",
    )
    large_trade: float = Field(
        100_000, gt=0, description="Price times size from which on a trade is large, in its quote currency"
    )
    large_trade_in: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="The same for single quote currencies, such as large_trade_in.BTC"
    )
    rules: dict[str, RuleSettings] = Field(
        {}, description="Changes of single rules, by id, such as rules.venue_no_data.for_s; docs/runbook.md lists them"
    )


class AlertSettings(Group):
    """Messages about alerts: when they are sent, by e-mail too, and the ping of the dead man's switch.

    The address of the webhook is monitoring.alert_webhook_url.
    """

    least: Literal["page", "ticket", "info"] = Field(
        "ticket", description="Least severity that is sent: page, ticket, info"
    )
    cooldown_s: float = Field(
        900, ge=10, le=86_400, description="Least time between two messages that one rule fires for one subject"
    )
    reminder_s: float = Field(
        14_400,
        ge=0,
        le=604_800,
        description="A firing alert that is not acknowledged is sent again after this time; 0: never",
    )
    timeout_s: float = Field(20, gt=0, le=120, description="Longest time for sending one message over one channel")
    webhook_format: Literal["auto", "json", "slack", "discord", "telegram"] = Field(
        "auto",
        description="What the webhook takes: json, slack, discord, telegram; auto: by its address, json if unknown",
    )
    email_to: Words = Field((), description="Recipients of e-mail, with commas; unset: no e-mail")
    email_from: OptionalText = Field(None, description="Sender of e-mail; unset: the first recipient")
    smtp_host: OptionalText = Field(None, description="Server that takes the e-mail")
    smtp_port: Port = Field(587, description="Its port: 587 for STARTTLS, 465 for implicit TLS")
    smtp_tls: Literal["starttls", "implicit", "none"] = Field(
        "starttls",
        description="Encryption, always with a verified certificate: starttls, implicit; none: only for smtp_host on "
        "loopback",
    )
    smtp_user: OptionalText = Field(None, description="Login at that server; unset: without a login")
    smtp_password: OptionalSecret = Field(None, description="Password of that login")
    ping_url: SecretAddress = Field(
        None,
        description="Address of a dead man's switch in the convention of healthchecks.io, which raises the alarm when "
        "the pings stop; unset: no pings",
    )
    ping_every_s: float = Field(60, ge=1, le=3600, description="Time between two pings")

    @model_validator(mode="after")
    def _require_server(self) -> Self:
        """Refuse e-mail that could not be sent, or not safely."""
        if not self.email_to:
            return self
        if self.smtp_host is None:
            raise ValueError("email_to is set, but smtp_host is not; set SMTP_HOST")
        if self.smtp_tls == "none" and self.smtp_host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("smtp_tls = none is for a server on loopback only; set starttls or implicit")
        if self.smtp_user is not None and self.smtp_password is None:
            raise ValueError("smtp_user is set, but smtp_password is not; set SMTP_PASSWORD or SMTP_PASSWORD_FILE")
        for address in (*self.email_to, *([] if self.email_from is None else [self.email_from])):
            if not address.isprintable() or not address.isascii() or address.count("@") != 1 or " " in address:
                raise ValueError(f"{address!r} is not an e-mail address; write it as name@example.org")
        return self
