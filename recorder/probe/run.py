"""One probe of one venue: its questions in their order, their verdicts, and the folder of the answers."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from recorder import __version__
from recorder.clock import Clock
from recorder.errors import DecodeError
from recorder.instruments.configured import make_venue
from recorder.instruments.patterns import is_pattern
from recorder.poller.jobs import public_clients
from recorder.printable import masked_url
from recorder.probe.asker import OWN, Asker
from recorder.probe.keeping import Keeper
from recorder.probe.stream import ProbeStream
from recorder.rest.client import RestClient, client_of
from recorder.rest.policy import Priority
from recorder.settings import Settings, VenueSettings
from recorder.venues import VENUES
from recorder.venues.base import Venue
from recorder.venues.questionnaires import QUESTIONNAIRES
from recorder.venues.questions import (
    Ask,
    Heard,
    Question,
    Questionnaire,
    Reply,
    Settled,
    Steps,
    Subject,
    Verdict,
    differs,
)
from recorder.venues.wire import MALFORMED

_UNEXPECTED = (DecodeError, *MALFORMED, OverflowError, KeyError, IndexError, TypeError)
"""What a hostile answer makes of a question's reading of it."""

_STEPS_MAX = 50  # of one question
_LISTENING = 0.2
"""Part of the time that one listening may take."""

State = Literal["agrees", "differs", "no answer", "not asked"]


class Line(msgspec.Struct):
    """One question with what became of it."""

    question: str
    source: str  # page and section
    assumed: str
    state: State
    seen: str = ""
    requests: int = 0  # that it caused; shared ones count for the first


class VenueReport(msgspec.Struct):
    """A probe of one venue."""

    venue: str
    symbol: str
    lines: list[Line]
    kept: str = ""  # folder
    unreached: str = ""  # why nothing could be asked
    requests: int = 0
    seconds: float = 0.0

    def count(self, state: State) -> int:
        """Return how many questions are in a state."""
        return sum(line.state == state for line in self.lines)


Progress = Callable[[int, int, str], None]
"""Number of the question, how many there are, and its name."""


def listed(name: str) -> VenueReport:
    """Return the questions to a venue without asking them."""
    own = QUESTIONNAIRES[name]
    return VenueReport(name, own.symbol, [_line(one) for one in own.questions])


def probe(
    name: str, settings: Settings, folder: Path, timeout_s: float, clock: Clock, progress: Progress
) -> VenueReport:
    """Ask a venue all its questions.

    Args:
        name: Of the venue.
        settings: Its addresses, symbols and limits.
        folder: Of this probe; a folder of the venue is made in it.
        timeout_s: For all questions together; those left over are not answered.
        clock: For times and waits.
        progress: Called before each question.

    Raises:
        ConfigError: A setting of the venue is wrong, or the folder of the venue is there already.
        OSError: The folder cannot be written.
    """
    own = QUESTIONNAIRES[name]
    stop = threading.Event()
    began_s = clock.monotonic_s()
    subject = Subject(_symbol(own, settings, name), clock.wall_ns())
    venue = make_venue(name, settings.venues.get(name, VenueSettings())) if name in VENUES else None
    clients = _clients(own, venue, name, settings, stop)
    keeper = Keeper(folder / name)
    report = VenueReport(name, subject.symbol, [], str(keeper.folder))
    most_s = timeout_s * _LISTENING
    opener = None if venue is None else lambda ask: ProbeStream(venue, settings, keeper, ask, clock, stop, most_s)
    stream_url = "" if venue is None else venue.endpoint
    asker = Asker(clients, opener, stream_url, keeper, clock, stop)
    try:
        with _limit(stop, timeout_s):
            for number, question in enumerate(own.questions, 1):
                progress(number, len(own.questions), question.name)
                line = _line(question)
                before = asker.requests
                if question.steps is not None:
                    line.state, line.seen = answered(question.steps(subject), asker)
                line.requests = asker.requests - before
                report.lines.append(line)
        if not asker.answered and asker.unreached:
            report.unreached = next(iter(asker.unreached.values()))
    finally:
        stop.set()
        asker.close()
        report.requests = asker.requests
        report.seconds = round(clock.monotonic_s() - began_s, 3)
        keeper.close(_metadata(report, venue, clients, subject, keeper))
    return report


class Answers(Protocol):
    """What gives the answers, such as an `Asker`."""

    def answer(self, ask: Ask) -> Reply | Heard:
        """Return the answer to what a question asks.

        Raises:
            Settled: there is none.
        """
        ...


def answered(steps: Steps, answers: Answers) -> Verdict:
    """Take the steps of a question to its verdict. What an answer holds can end it, but cannot make it fail."""
    try:
        ask = next(steps)
        for _ in range(_STEPS_MAX):
            try:
                answer = answers.answer(ask)
            except Settled as settled:
                ask = steps.throw(settled)
            else:
                ask = steps.send(answer)
        raise RuntimeError("a question asks without an end")
    except StopIteration as end:
        verdict: Verdict = end.value
        return verdict
    except Settled as settled:
        return settled.verdict
    except _UNEXPECTED as error:
        return differs(f"another form: {type(error).__name__}: {error}")


def _line(question: Question) -> Line:
    state: State = "no answer" if question.steps is not None else "not asked"
    return Line(question.name, question.source, question.assumed, state, question.needs)


def _symbol(own: Questionnaire, settings: Settings, name: str) -> str:
    if not own.symbol:
        return ""
    given = settings.venues[name].symbols if name in settings.venues else ()
    return next((symbol for symbol in given if not is_pattern(symbol)), own.symbol)


def _clients(
    own: Questionnaire, venue: Venue | None, name: str, settings: Settings, stop: threading.Event
) -> dict[str, RestClient]:
    public = public_clients(settings, stop) if own.services else {}
    clients = {service: public[service] for service in own.services}
    if venue is not None:
        address = settings.venues.get(name, VenueSettings()).rest_url
        clients[OWN] = client_of(
            venue, address, settings.websocket.user_agent, stop, settings.ca_file, settings.budgets_dir,
            Priority.SCHEDULED,
        )  # fmt: skip
    return clients


@contextmanager
def _limit(stop: threading.Event, seconds: float) -> Iterator[None]:
    """Set the stop when the time is over, or when the block ends."""
    timer = threading.Timer(seconds, stop.set)
    timer.name = "probe.limit"
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _metadata(
    report: VenueReport, venue: Venue | None, clients: dict[str, RestClient], subject: Subject, keeper: Keeper
) -> dict[str, object]:
    began = datetime.fromtimestamp(subject.now_ns / 1e9, UTC)
    return {
        "probe.jsonl": {
            "origin": f"tapedeck probe, version {__version__}, {began:%Y-%m-%d %H:%M:%S} UTC",
            "venue": report.venue,
            "stream": None if venue is None else masked_url(venue.endpoint),
            "rest": {service or "own": masked_url(client.url) for service, client in clients.items()},
            "symbol": report.symbol,
            "left_out": keeper.left_out,
            "questions": report.lines,
        }
    }


def folder_of(home: Path, now_ns: int) -> Path:
    """Return the folder of a probe that begins now."""
    return home / "probe" / f"{datetime.fromtimestamp(now_ns / 1e9, UTC):%Y-%m-%dT%H%M%SZ}"
