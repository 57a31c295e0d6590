"""A running program `web` on a database of the test, and a small client of it."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from support.database_server import ROOT
from support.machine.ports import free_port

START_S = 40.0
SECRET = "a secret of a test that has more than 32 bytes"


class Answer(NamedTuple):
    """An answer of the program."""

    status: int
    headers: Mapping[str, str]  # names in lower case; of a repeated one the last
    body: bytes
    cookies: dict[str, str]

    @property
    def json(self) -> Any:
        """The document of the body."""
        return json.loads(self.body)


class RunningWeb:
    """The program as a process."""

    def __init__(self, home: Path, database: str, **variables: str) -> None:
        """
        Args:
            home: State folder.
            database: Address of its database.
            variables: Further variables of its environment, such as TAPEDECK__WEB__PUBLIC_READ.
        """
        self.home = home
        self.port = free_port()
        self._log = home.parent / f"{home.name}.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TAPEDECK__", "DATABASE_"))},
            "TAPEDECK_HOME": str(home),
            "TAPEDECK_CONFIG": "live",
            "DATABASE_URL": database,
            "TAPEDECK__WEB__PORT": str(self.port),
            "TAPEDECK__WATCHDOG__PORT": str(free_port()),
            "TAPEDECK__WEB__REQUESTS_PER_MINUTE": "100000",
            "JWT_SECRET": SECRET,
            **variables,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of its pages."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> float:
        """Start it; return the seconds until its first answer."""
        began = time.monotonic()
        self.home.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "bin" / "web")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, cwd=self.home.parent,
            )  # fmt: skip
        pause = threading.Event()
        while time.monotonic() - began < START_S:
            assert self._process.poll() is None, self.log()
            try:
                if self.get("/health").status == 200:
                    return time.monotonic() - began
            except OSError:
                pause.wait(0.05)
        raise AssertionError(f"web does not answer: {self.log()}")

    def stop(self) -> int:
        """Stop it as supervisord does; return its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)

    def kill(self) -> None:
        """Kill it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(20)

    def log(self) -> str:
        """Return the end of its log."""
        return self._log.read_text()[-4000:]

    def get(self, path: str, token: str = "", **headers: str) -> Answer:
        """Ask for a path; `headers` have `_` for `-`."""
        return self.ask("GET", path, None, token, headers)

    def post(self, path: str, body: Any = None, token: str = "", **headers: str) -> Answer:
        """Send a document."""
        sent = b"" if body is None else json.dumps(body).encode()
        return self.ask("POST", path, sent, token, {"content_type": "application/json", **headers})

    def form(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Send a form as a page of ours does."""
        given = {"origin": self.url, "content_type": "application/x-www-form-urlencoded", **headers}
        return self.ask("POST", path, urlencode(fields).encode(), "", given)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        token: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request."""
        sent = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, sent)
            reply = connection.getresponse()
            given = {name.lower(): value for name, value in reply.getheaders()}
            pairs = [value.split(";")[0] for name, value in reply.getheaders() if name.lower() == "set-cookie"]
            cookies = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
            return Answer(reply.status, given, reply.read(), cookies)
        finally:
            connection.close()
