"""The group of settings of the API and the pages: types, units, defaults and meanings."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from recorder import portmap
from recorder.settings.groups import Group, OptionalSecret, OptionalText, Port, Words

SECRET_BYTES = 32
"""Least length of the key that signs tokens (RFC 7518, section 3.2)."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_OptionalFile = Annotated[Path | None, BeforeValidator(lambda value: value or None)]


class WebSettings(Group):
    """The program that serves the API and the pages."""

    enabled: bool = Field(True, description="Start it with the appliance")
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        max_length=255,
        description="Address it listens on. Another than loopback needs users, and trusted_proxy or TLS files",
    )
    port: Port = Field(
        portmap.number(portmap.DEFAULT_BASE, portmap.WEB),
        description=f"TCP port: {portmap.number(portmap.DEFAULT_BASE, portmap.WEB)}, and with another port_base that",
    )
    hosts: Words = Field(
        (), description="Names beside loopback and `host` that browsers may call it by, such as tape.example.org"
    )
    origins: Words = Field(
        (),
        description="Other sites whose scripts may call the API (CORS), such as https://desk.example.org; unset: none",
    )
    public_read: bool = Field(
        False, description="Whether pages and API may be read without login; on loopback only, users and audit never"
    )
    session_minutes: int = Field(
        720, ge=15, le=43_200, description="A login ends when it was not used for so long, minutes"
    )
    trusted_proxy: OptionalText = Field(
        None, description="Address of the reverse proxy that ends TLS; its X-Forwarded-For names the client"
    )
    tls_cert: _OptionalFile = Field(None, description="PEM file of the certificate, for TLS without a proxy")
    tls_key: _OptionalFile = Field(None, description="PEM file of its key")
    requests_per_minute: int = Field(
        1200, ge=60, le=1_000_000, description="Cost that one user, or one address without login, may use in a minute"
    )
    secret: OptionalSecret = Field(
        None, description=f"Key that signs tokens, {SECRET_BYTES} bytes or more; unset: made once, in the home"
    )

    @model_validator(mode="after")
    def _require_safety(self) -> Self:
        """Refuse what would let strangers in."""
        if self.secret is not None and len(self.secret.get_secret_value().encode()) < SECRET_BYTES:
            raise ValueError(f"secret (JWT_SECRET) has less than {SECRET_BYTES} bytes; make one: openssl rand -hex 32")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together; set both or neither")
        if not self.on_loopback:
            if self.tls_cert is None and self.trusted_proxy is None:
                raise ValueError(
                    f"host {self.host} is not loopback: set tls_cert and tls_key, or the trusted_proxy that ends TLS"
                )
            if self.public_read:
                raise ValueError("public_read is for loopback only; set it to false, or host to 127.0.0.1")
        if "*" in self.origins:
            raise ValueError("origins must list each site; * would open the API to all of them")
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in _LOOPBACK

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by TLS only, so that cookies may say so."""
        return self.tls_cert is not None or self.trusted_proxy is not None

    @property
    def url(self) -> str:
        """The address of the pages on this machine."""
        return f"{'https' if self.tls_cert else 'http'}://{'127.0.0.1' if self.on_loopback else self.host}:{self.port}"
