"""The REST services that jobs ask, by name: one client with its budget and its circuit breaker for each."""

import re
import threading
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from recorder.errors import RestError, RestRefused
from recorder.printable import one_line
from recorder.process.log import get_logger
from recorder.rest.client import RestClient

_ENDED = (404, 422)  # answers about what has ended or never was
_NOTICES = ("deprecation", "sunset", "warning")
"""Headers by which a service announces that it will change or end (RFC 9745, RFC 8594, RFC 9111)."""

SCHEMA = "$schema"
"""Of a notice that names the description of an interface; another address of it is an early warning."""

_SCHEMA = re.compile(rb'"\$schema"\s*:\s*"([^"\\]{1,300})"')
_SCHEMA_WITHIN = 2_000  # bytes at either end of a body: it is the first or the last member
_NOTICE_CHARS = 200
_NOTICES_MAX = 20  # different ones of a service; the text is the service's

_log = get_logger(__name__)


class Reply(NamedTuple):
    """An answer of status 200 to 299, 404 or 422."""

    status: int
    body: bytes
    request_id: str = ""
    attempts: int = 1  # 0: it came without a request
    received_ns: int = 0  # wall clock; 0: unknown
    headers: Mapping[str, str] = MappingProxyType({})  # names in lower case


class Service(Protocol):
    """One REST service."""

    url: str

    def ask(self, path: str, body: bytes) -> Reply:
        """Request a path; with a body, by POST.

        Raises:
            RestError: there is no answer that can be used.
        """
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class ClientService:
    """A service over a `RestClient`."""

    def __init__(self, client: RestClient) -> None:
        self.url = client.url
        self._client = client

    def ask(self, path: str, body: bytes) -> Reply:
        """Request a path."""
        answer = self._client.post(path, body, _ENDED) if body else self._client.get(path, _ENDED)
        return Reply(answer.status, answer.body, answer.request_id, answer.attempts, answer.received_ns, answer.headers)

    @property
    def circuit_open(self) -> bool:
        """Whether it failed too often to be asked now."""
        return self._client.circuit_open

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def notices(reply: Reply) -> list[str]:
    """Return what a service announces of its interface in an answer, such as "sunset: Fri, 01 May 2026"."""
    found = [f"{name}: {reply.headers[name]}" for name in _NOTICES if reply.headers.get(name)]
    schema = _SCHEMA.search(reply.body[:_SCHEMA_WITHIN]) or _SCHEMA.search(reply.body[-_SCHEMA_WITHIN:])
    if schema is not None:
        found.append(f"{SCHEMA}: {schema[1].decode(errors='replace')}")
    return [one_line(text)[:_NOTICE_CHARS] for text in found]


class Services:
    """All services by name. Threads may share it.

    Attributes:
        problems: The last failure of each service, until it answers again.
        notices: Answers of each service by what they announce of its interface; each is in the log once.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = dict(services)
        self._lock = threading.Lock()
        self.problems: dict[str, str] = {}  # the last failure of each service, until it answers again
        self.notices: dict[str, Counter[str]] = {}

    @property
    def circuits(self) -> list[str]:
        """The services that failed too often to be asked now; also those that another service asks."""
        clients = {name: one for name, one in self._services.items() if isinstance(one, ClientService)}
        return sorted(name for name, client in clients.items() if client.circuit_open)

    def url(self, name: str) -> str:
        """Return the address of a service."""
        return self._services[name].url

    def ask(self, name: str, path: str, body: bytes = b"") -> Reply:
        """Request a path of a service.

        Raises:
            RestError: there is no answer that can be used, or no service has this name.
        """
        service = self._services.get(name)
        if service is None:
            raise RestRefused(f"there is no service {name!r}; there are: {', '.join(self._services)}")
        try:
            reply = service.ask(path, body)
        except RestError as error:
            with self._lock:
                self.problems[name] = str(error)
            raise
        self._note(name, reply)
        if reply.attempts:  # else nothing was sent, which says nothing about the service
            with self._lock:
                self.problems.pop(name, None)
        return reply

    def _note(self, name: str, reply: Reply) -> None:
        for text in notices(reply):
            with self._lock:
                counts = self.notices.setdefault(name, Counter())
                new = text not in counts
                if new and len(counts) >= _NOTICES_MAX:
                    continue
                counts[text] += 1
            if new:
                write = _log.info if text.startswith(SCHEMA) else _log.warning
                write("poll.notice", service=name, notice=text, request=reply.request_id)

    def noticed(self) -> dict[str, dict[str, int]]:
        """Return a copy of the notices."""
        with self._lock:
            return {name: dict(counts) for name, counts in self.notices.items()}

    def close(self) -> None:
        """Close all connections."""
        for service in self._services.values():
            service.close()
