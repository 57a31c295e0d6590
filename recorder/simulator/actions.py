"""Actions on request: the methods `do_NAME` of some objects, offered over HTTP and in Python.

`POST /_control {"do": "close", "how": "rst"}` on the port of a venue or service runs an action; `GET /_control` lists
all. A request from a web page is refused: any page that is open in a browser of this machine can send one to a local
port.
"""

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from recorder.errors import ConfigError
from recorder.simulator.server import Server
from recorder.simulator.wire import Request, Response
from recorder.truth import Done, TruthLog

Argument = str | float | bool | None
_PATH = "/_control"
_HOSTS = ("127.0.0.1", "localhost")


def refuse_web_page(request: Request) -> Response | None:
    """Return the refusal of a request that comes from a web page; None for a program of this machine.

    A page of another site sends its own `Origin`, or its own name as the `Host` where its DNS answers 127.0.0.1.
    """
    if "origin" in request.headers:
        return Response(403, b'{"error":"requests of web pages are refused"}')
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        host = None
    if host not in _HOSTS:
        return Response(403, b'{"error":"the Host must be 127.0.0.1 or localhost"}')
    return None


class _Faults(Protocol):
    @property
    def rules(self) -> Sequence[Any]: ...


class Actions:
    """The methods `do_NAME` of this object and of others. Their docstrings are the help."""

    def __init__(self, server: Server, truth: TruthLog, faults: _Faults, others: Sequence[object] = ()) -> None:
        self._server = server
        self._truth = truth
        self._faults = faults
        self._actions: dict[str, Callable[..., dict[str, object]]] = {
            name.removeprefix("do_"): getattr(owner, name)
            for owner in (self, *others)
            for name in dir(owner)
            if name.startswith("do_")
        }

    def do(self, name: str, arguments: Mapping[str, Argument] | None = None) -> dict[str, object]:
        """Run an action in the thread of the server.

        Returns:
            What the action reports, and as `armed` the rules it added, which act on what is sent next.

        Raises:
            ConfigError: the action does not exist, or its arguments are wrong.
        """
        arguments = dict(arguments or {})
        action = self._actions.get(name)
        if action is None:
            raise ConfigError(f"no action {name!r}; the actions are: {', '.join(sorted(self._actions))}")
        try:
            inspect.signature(action).bind(**arguments)
        except TypeError as error:
            raise ConfigError(f"{name}{inspect.signature(action)}: {error}") from error

        def run() -> dict[str, object]:
            self._truth.line(Done(time.time_ns(), name, arguments))
            before = {id(rule) for rule in self._faults.rules}
            try:
                done = action(**arguments)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{name}: {error}") from error
            armed = [msgspec.to_builtins(rule) for rule in self._faults.rules if id(rule) not in before]
            return {**done, "armed": armed} if armed else done

        return self._server.call(run)

    def offers(self, name: str) -> bool:
        """Return whether there is such an action."""
        return name in self._actions

    def http(self, request: Request) -> Response | None:
        """Answer a request to the control path; return None for any other."""
        if request.path != _PATH:
            return None
        refusal = refuse_web_page(request)
        if refusal is not None:
            return refusal
        if request.method == "GET":
            return Response(200, msgspec.json.encode(self.help()))
        try:
            arguments = msgspec.json.decode(request.body, type=dict[str, Argument])
            done = self.do(str(arguments.pop("do", "")), arguments)
        except (msgspec.DecodeError, ConfigError) as error:
            return Response(400, msgspec.json.encode({"error": str(error)}))
        return Response(200, msgspec.json.encode(done))

    def help(self) -> dict[str, str]:
        """Return every action with its arguments and description."""
        return {
            name: f"{str(inspect.signature(action)).split(' ->')[0]} {inspect.getdoc(action)}"
            for name, action in sorted(self._actions.items())
        }
