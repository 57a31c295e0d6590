"""The markets in memory, on disk: a restart goes on where the last process stopped."""

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from recorder.clock import Clock
from recorder.poller.job import Cut, Handler, Kept, Mark, Outcome, Round
from recorder.poller.polymarket.board import MOST_MARKETS, Board, Seen
from recorder.poller.polymarket.cases import MOST_CASES, Case
from recorder.poller.polymarket.intake import MOST_NEWEST, Intake, Known
from recorder.poller.polymarket.tiers import TierRules, Verdict
from recorder.process import files
from recorder.process.log import get_logger
from recorder.venues.polymarket.polls.market import Market

_LARGEST = 256 << 20  # bytes
_SAVE_EVERY_NS = 300 * 10**9
_OVERDUE_S = 300.0  # after the time of a save; from then on rounds wait for it at their begin
_LONGEST_WAIT_S = 60.0  # most rounds are shorter
_LOOK_S = 0.2

_log = get_logger(__name__)


class Remembered(msgspec.Struct, frozen=True):
    """The content of the file."""

    newest: list[int]
    markets: list[tuple[Market, Seen]]
    cases: list[Case]
    known: Known = Known([], {})
    mark: Mark | None = None  # answers before this place in the journal are in it, later ones are not


def _unmarked(note: Callable[[], None]) -> Mark | None:
    """Call a function where there is no journal, as in a dry run."""
    note()
    return Mark("", 0, 0)


class Memory:
    """Keeps what a restart needs of the markets in a file.

    Args:
        intake: Has the markets.
        path: The file.
        clock: Gives the time.
    """

    def __init__(self, intake: Intake, path: Path, clock: Clock) -> None:
        self._intake = intake
        self._path = path
        self._clock = clock
        self._restored = False
        self._mark: Mark | None = None
        self._cut: Cut = _unmarked
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._saved_ns = 0
        self._due_since_s: float | None = None  # when it was first to be written and could not be

    def restore(self, cut: Cut) -> Mark | None:
        """Read the file, and return up to where in the journal it knows the answers; None where there is none.

        Args:
            cut: Gives the marks of later files.
        """
        self.restore_once()
        self._cut = cut
        return self._mark

    def restore_once(self) -> None:
        """Read the file, before the first use. A file that is damaged or of another version counts as none."""
        with self._lock:
            if self._restored:
                return
            self._restored = True
            remembered = load(self._path)
            if remembered is None:
                return
            self._mark = remembered.mark
            self._intake.newest = dict.fromkeys(remembered.newest[-MOST_NEWEST:])
            for market, seen in remembered.markets[:MOST_MARKETS]:
                self._intake.board.put(market, seen)
            self._intake.cases.restore(remembered.cases[:MOST_CASES])
            self._intake.restore(remembered.known)
            self._intake.board.retier(self._clock.wall_ns())
            self._intake.complete = True
            _log.info("markets.restored", markets=len(remembered.markets), cases=len(remembered.cases))

    def keep(self, now_ns: int) -> bool:
        """Write the file every five minutes, and return whether it was written now.

        The file must not be ahead of the journal, because a change that it has is not looked for again. So it is
        written while no round has answers whose rows are not in the journal.

        Raises:
            OSError: the disk does not take it; the old file stands, and the next try is in five minutes.
        """
        with self._saving:
            if not self._intake.complete or 0 <= now_ns - self._saved_ns < _SAVE_EVERY_NS:
                return False
            content = self._content()
            if content is None:
                if self._due_since_s is None:
                    self._due_since_s = self._clock.monotonic_s()
                return False
            self._saved_ns, self._due_since_s = now_ns, None
            self._write(content)
            return True

    def ready(self, stop: threading.Event) -> None:
        """Write the file before a round that changes the memory; where that is overdue, wait for a moment for it.

        Rounds may follow each other without a pause. Those that begin wait for those that run, for a minute at most.
        """
        until_s = self._clock.monotonic_s() + _LONGEST_WAIT_S
        while True:
            try:
                if self.keep(self._clock.wall_ns()):
                    return
            except OSError as error:
                _log.warning("markets.unsaved", error=str(error))
            now_s = self._clock.monotonic_s()
            overdue = self._due_since_s is not None and now_s - self._due_since_s >= _OVERDUE_S
            if not overdue or now_s >= until_s or stop.wait(_LOOK_S):
                return

    def stopped(self) -> None:
        """Write the file at the end of the program, unless a round has outlived it; the journal has its answers."""
        if not self._intake.complete:
            return
        try:
            self.save()
        except OSError as error:
            _log.warning("markets.unsaved", error=str(error))

    def save(self) -> bool:
        """Write the file now, and return whether it was.

        Raises:
            OSError: the disk does not take it; the old file stands.
        """
        content = self._content()
        if content is None:
            return False
        self._write(content)
        return True

    def _write(self, content: bytes) -> None:
        files.make_home(self._path.parent)
        files.write(self._path, content)

    def _content(self) -> bytes | None:
        """Return the content of the file; None while the memory is ahead of the journal."""
        held: list[Remembered] = []
        mark = self._cut(lambda: held.append(self._snapshot()))
        return None if mark is None else msgspec.msgpack.encode(msgspec.structs.replace(held[0], mark=mark))

    def _snapshot(self) -> Remembered:
        intake = self._intake
        return Remembered(
            list(intake.newest), list(intake.board.snapshot()), intake.cases.snapshot(), intake.known()
        )  # fmt: skip


def load(path: Path) -> Remembered | None:
    """Return the content of a file; None where it is absent, damaged or of another version."""
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"larger than {_LARGEST} bytes")
        return msgspec.msgpack.decode(path.read_bytes(), type=Remembered)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("markets.unreadable", path=str(path), error=str(error))
        return None


def judged(remembered: Remembered, now_ns: int, rules: TierRules) -> list[tuple[Market, Verdict]]:
    """Return the markets of a file with their tiers at a time."""
    board = Board(rules)
    for market, seen in remembered.markets[:MOST_MARKETS]:
        board.put(market, seen)
    board.retier(now_ns)
    return list(board.all())


class WithMemory:
    """A handler that finds the memory restored.

    Args:
        handler: Does the work.
        memory: Is restored before its first round.
        changes: Whether its rounds change what Gamma says of markets, or how they ended.
    """

    def __init__(self, handler: Handler, memory: Memory, *, changes: bool = True) -> None:
        self._handler = handler
        self._memory = memory
        self._changes = changes

    def run(self, round: Round) -> Outcome:
        """Run the round."""
        self._memory.restore_once()
        if self._changes:
            self._memory.ready(round.stop)
        return self._handler.run(round)

    def take(self, round: Round, answer: Kept) -> None:
        """Take one answer."""
        self._memory.restore_once()
        self._handler.take(round, answer)


class Tiers:
    """The job that judges every market again each minute, from memory, and keeps the memory on disk."""

    def __init__(self, intake: Intake, memory: Memory, clock: Clock) -> None:
        self._intake = intake
        self._memory = memory
        self._clock = clock

    def run(self, round: Round) -> Outcome:
        """Judge, and keep the memory."""
        now_ns = self._clock.wall_ns()
        counts = self._intake.board.retier(now_ns)
        try:
            self._memory.keep(now_ns)
        except OSError as error:
            _log.warning("markets.unsaved", error=str(error))  # a full disk must not stop the tiers
        return Outcome(detail=" ".join(f"{tier} {count}" for tier, count in counts.items()))

    def take(self, round: Round, answer: Kept) -> None:
        """Do nothing: this job asks no service."""
