"""Asks one venue for a probe: one request at a time, each once, within the budgets of the machine."""

import threading
from collections.abc import Callable, Mapping

from recorder.clock import Clock
from recorder.errors import ConnectFailed, RestError
from recorder.printable import masked_url
from recorder.probe.keeping import Keeper
from recorder.probe.stream import ProbeStream
from recorder.process.reach import unreachable
from recorder.rest.client import RestClient
from recorder.venues.questions import Ask, Heard, Listen, Reply, Rest, Settled, no_answer

OWN = ""
"""The service of a request to the venue's own REST."""

TIME_IS_OVER = "the time of the probe is over"

OpenStream = Callable[[Callable[[Rest], Reply | None]], ProbeStream]


class Asker:
    """The connections of a probe of one venue. One thread uses it.

    Attributes:
        requests: REST requests that were sent.
        unreached: Why hosts could not be reached, by service; `STREAM` is the WebSocket.
        answered: Whether any host answered.
    """

    STREAM = "stream"

    def __init__(
        self,
        clients: Mapping[str, RestClient],
        open_stream: OpenStream | None,
        stream_url: str,
        keeper: Keeper,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        """
        Args:
            clients: By service; the venue's own is `OWN`.
            open_stream: Opens the connection; None where the venue has no stream.
            stream_url: Its address.
            keeper: Keeps every answer.
            clock: For receipt times.
            stop: Set when the time of the probe is over; it ends every wait.
        """
        self._clients = clients
        self._open_stream = open_stream
        self._stream_url = stream_url
        self._keeper = keeper
        self._clock = clock
        self._stop = stop
        self._stream: ProbeStream | None = None
        self._known: dict[Ask, Reply | Heard | Settled] = {}
        self.requests = 0
        self.answered = False
        self.unreached: dict[str, str] = {}

    def answer(self, ask: Ask) -> Reply | Heard:
        """Return the answer to what a question asks; the same one as before where it was asked before.

        Raises:
            Settled: there is none.
        """
        known = self._known.get(ask)
        if known is None:
            try:
                known = self._request(ask) if isinstance(ask, Rest) else self._listen(ask)
            except Settled as settled:
                known = settled
            self._known[ask] = known
        if isinstance(known, Settled):
            raise Settled(known.verdict)
        return known

    def close(self) -> None:
        """Close all connections."""
        if self._stream is not None:
            self._stream.close()
        for client in self._clients.values():
            client.close()

    def _request(self, ask: Rest) -> Reply:
        client = self._clients.get(ask.service)
        if client is None:
            raise Settled(no_answer(f"the service {ask.service!r} is not known"))
        if ask.service in self.unreached:
            raise Settled(no_answer(self.unreached[ask.service]))
        self._require_time()
        self.requests += 1
        try:
            answer = client.once(ask.path, ask.body or None)
        except RestError as error:
            self._require_time()
            reason = unreachable(error, client.url)
            if reason is not None:
                self.unreached[ask.service] = reason
            elif error.attempts:
                self.answered = True  # it was reached, and gave no usable answer
            raise Settled(no_answer(reason or str(error))) from error
        self.answered = True
        reply = Reply(answer.status, answer.body, answer.headers, answer.received_ns)
        self._keeper.reply(ask, masked_url(client.url), reply)
        return reply

    def _listen(self, ask: Listen) -> Heard:
        if self.STREAM in self.unreached:
            raise Settled(no_answer(self.unreached[self.STREAM]))
        self._require_time()
        if self._stream is None:
            if self._open_stream is None:
                raise Settled(no_answer("there is no stream"))
            try:
                self._stream = self._open_stream(self._fetched)
            except ConnectFailed as error:
                self._require_time()
                reason = unreachable(error, self._stream_url)
                self.answered = self.answered or reason is None
                self.unreached[self.STREAM] = reason or str(error)
                raise Settled(no_answer(self.unreached[self.STREAM])) from error
            self.answered = True
        heard = self._stream.listen(ask)
        if not heard.frames:
            self._require_time()
        return heard

    def _fetched(self, ask: Rest) -> Reply | None:
        """Answer a decoder, which wants the present state each time."""
        try:
            return self._request(ask)
        except Settled:
            return None

    def _require_time(self) -> None:
        if self._stop.is_set():
            raise Settled(no_answer(TIME_IS_OVER))
