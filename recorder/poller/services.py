"""The REST services that jobs ask, by name: one client with its budget and its circuit breaker for each."""

import threading
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from recorder.errors import RestCircuitOpen, RestError, RestRefused
from recorder.rest.client import RestClient

_ENDED = (404, 422)  # answers about what has ended or never was


class Reply(NamedTuple):
    """An answer of status 200 to 299, 404 or 422."""

    status: int
    body: bytes
    request_id: str = ""
    attempts: int = 1
    received_ns: int = 0  # wall clock; 0: unknown


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
        return Reply(answer.status, answer.body, answer.request_id, answer.attempts, answer.received_ns)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class Services:
    """All services by name. Threads may share it."""

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = dict(services)
        self._lock = threading.Lock()
        self.problems: dict[str, str] = {}  # the last failure of each service, until it answers again
        self.circuits: frozenset[str] = frozenset()  # services whose circuit breaker is open

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
                if isinstance(error, RestCircuitOpen):
                    self.circuits |= {name}
            raise
        with self._lock:
            self.problems.pop(name, None)
            self.circuits -= {name}
        return reply

    def close(self) -> None:
        """Close all connections."""
        for service in self._services.values():
            service.close()
