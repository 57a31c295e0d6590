"""The HTTP session of a client: its headers, its trust, and connections whose waits can be ended."""

import http.cookiejar
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from recorder.process.trust import tls_context
from recorder.rest.interruptible import POOLS, TlsSocket


def session(user_agent: str, ca_file: Path | None) -> requests.Session:
    """Return a session that sends no credentials and keeps no cookies.

    Args:
        user_agent: The User-Agent header.
        ca_file: PEM file of the authorities to trust; None: those of the system.

    Raises:
        ConfigError: that file cannot be used.
    """
    made = requests.Session()
    made.auth = _no_credentials
    made.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    made.headers.update({"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": "gzip"})
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Adapter(ca_file))
    return made


class _Adapter(HTTPAdapter):
    """Opens connections, also to a proxy, whose waits end with the request and which trust the given authorities."""

    def __init__(self, ca_file: Path | None) -> None:
        self._context = tls_context(ca_file)
        self._context.sslsocket_class = TlsSocket
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, **more, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **more, ssl_context=self._context, proxy_ssl_context=self._context)
        if not known:
            manager.pool_classes_by_scheme = POOLS
        return manager

    def build_connection_pool_key_attributes(self, *arguments: Any, **more: Any) -> Any:
        """Leave out what requests adds: its own set of authorities, which would be trusted besides ours."""
        host, pool = super().build_connection_pool_key_attributes(*arguments, **more)
        return host, {key: value for key, value in pool.items() if key not in ("ca_certs", "ca_cert_dir")}

    def cert_verify(self, conn: Any, *_: Any) -> None:
        """Require a certificate; the context knows the authorities."""
        conn.cert_reqs, conn.ca_certs, conn.ca_cert_dir = "CERT_REQUIRED", None, None


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Send no credentials; without this, requests reads ~/.netrc."""
    return request
