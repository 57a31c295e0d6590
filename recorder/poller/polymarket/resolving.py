"""The jobs that ask how markets ended: until two sources agree, once more after 72 hours, also after a lost memory."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from recorder.clock import Clock
from recorder.errors import RestUnavailable
from recorder.instruments.market_store import unchecked, unlabelled
from recorder.poller.discovery import waited_for
from recorder.poller.job import Kept, Outcome, Round
from recorder.poller.polymarket import paths
from recorder.poller.polymarket.cases import Case, Decision
from recorder.poller.polymarket.intake import Intake
from recorder.poller.polymarket.labels import RECHECK_NS
from recorder.poller.polymarket.own_book import news
from recorder.poller.polymarket.own_book import service as stream
from recorder.poller.polymarket.rows import resolution_row
from recorder.process.log import get_logger
from recorder.venues.polymarket.polls import resolutions as decoders
from recorder.venues.polymarket.polls.resolutions import CONDITIONS_OF_RESOLUTIONS, TOKENS_OF_TOKENS

_REQUESTS = 12
"""For resolutions in one round; a round is every minute."""

_REQUESTS_OF_TOKENS = 8
_REQUESTS_OF_CLOB = 10  # one market each

_ANNOUNCED_NS = 1_800 * 10**9  # the sources may know it later than the stream

_MOST_FORGOTTEN = 20_000
_SEEN_WITHIN = timedelta(days=14)
_LABELLED_WITHIN = timedelta(microseconds=2 * RECHECK_NS // 1000)  # later there is no second look

_SPLITS = 6  # of one chunk in a round: one market among 20 or 25 is found by five of them
_UNKNOWN = (404, 422)

Item = TypeVar("Item")

_log = get_logger(__name__)


class Resolutions:
    """Asks for resolutions; for those that are final, a second source.

    Args:
        intake: Has the markets and their cases.
        clock: Gives the time.
        stream: Whether the stream is asked which markets it announced as resolved. It decides nothing: the two sources
            are asked sooner.
    """

    def __init__(self, intake: Intake, clock: Clock, *, stream: bool = False) -> None:
        self._intake = intake
        self._cases = intake.cases
        self._clock = clock
        self._stream = stream
        self._announced: dict[str, int] = {}  # when the stream announced a market as resolved, by condition

    def run(self, round: Round) -> Outcome:
        """Ask for the markets whose turn it is.

        Raises:
            RestError: An answer could not be had; what came before it is stored.
            DecodeError: An answer could not be used.
        """
        now_ns = self._clock.wall_ns()
        self._open(now_ns)
        if self._stream:
            self.take(round, round.get(stream.NAME, news.PATHS["market_resolved"]))
        due = self._cases.due(now_ns, _REQUESTS * CONDITIONS_OF_RESOLUTIONS)
        if not due:
            return Outcome("skipped", "nothing due")
        conditions = [case.condition_id for case in due]
        announced = sum(condition in self._announced for condition in conditions)
        for chunk in paths.chunks(conditions, CONDITIONS_OF_RESOLUTIONS):
            self._cases.asked(chunk, now_ns)  # first, because the answer may name an earlier time
            self._ask_each(round, paths.resolutions, chunk)
        # Two sources are needed. The token facts name many markets at once, the CLOB one.
        pairs = [case for case in self._second(conditions, "tokens") if len(case.tokens) == 2]
        pairs_of_one = TOKENS_OF_TOKENS // 2
        for some in paths.chunks(pairs[: _REQUESTS_OF_TOKENS * pairs_of_one], pairs_of_one):
            self._ask_each(round, _tokens_of, some)
        for case in self._second(conditions, "clob")[:_REQUESTS_OF_CLOB]:
            self._ask(round, paths.CLOB, paths.clob_market(case.condition_id))
        return Outcome(detail=f"{announced} of {len(due)} announced by the stream" if announced else "")

    def take(self, round: Round, answer: Kept) -> None:
        """Store what one answer decides.

        Raises:
            DecodeError: The answer cannot be used.
        """
        if answer.service == stream.NAME:
            self._hear(news.decode(answer.body), answer.received_ns)
            return
        if answer.status in _UNKNOWN:
            if answer.service == paths.DATA:  # which leaves out what it does not know
                round.odd(answer.path.partition("?")[0], f"HTTP {answer.status} for {answer.path[:120]}")
            return  # a market that this service does not know; no statement
        if answer.service == paths.CLOB:
            conditions = self._take_clob(answer)
        elif answer.path.startswith("/v2/tokens"):
            conditions = self._take_tokens(round, answer)
        else:
            conditions = self._take_resolutions(round, answer)
        self._settle(round, conditions, answer.received_ns)

    def _open(self, now_ns: int) -> None:
        """Open the cases of the markets that ended, and end those of markets that are open again."""
        for market, _ in self._intake.board.all():
            if self._intake.ended(market, now_ns):
                self._cases.open(market, now_ns)
            elif now_ns - self._announced.get(market.condition_id, 0) > _ANNOUNCED_NS:
                self._cases.reopened(market.condition_id)

    def _hear(self, conditions: Sequence[str], now_ns: int) -> None:
        """Have the markets in memory among some asked for in this round."""
        self._announced = {one: at for one, at in self._announced.items() if now_ns - at <= _ANNOUNCED_NS}
        for market in self._intake.board.of_conditions(conditions):
            self._announced[market.condition_id] = now_ns
            self._cases.open(market, now_ns)
            self._cases.hasten(market.condition_id, now_ns)

    def _ask(self, round: Round, service: str, path: str) -> int:
        if round.stop.is_set():
            raise RestUnavailable("the program stops")
        answer = round.get(service, path)
        self.take(round, answer)
        return answer.status

    def _ask_each(self, round: Round, path: Callable[[Sequence[Item]], str], items: Sequence[Item]) -> None:
        """Ask the Data API for some markets, and again in halves where it refuses them for one that it does not know.

        The same markets come together again, so that otherwise one of them would cost the others their label.
        """
        parts, splits = [items], 0
        while parts:
            some = parts.pop()
            if self._ask(round, paths.DATA, path(some)) in _UNKNOWN and len(some) > 1 and splits < _SPLITS:
                splits += 1
                middle = len(some) // 2
                parts += [some[middle:], some[:middle]]

    def _second(self, conditions: Sequence[str], source: decoders.Source) -> list[Case]:
        """Return the cases that are not decided, and of which this source knows nothing yet."""
        return [
            case
            for case in self._cases.undecided(conditions)
            if source not in case.finals and len(case.finals) < 2
        ]  # fmt: skip

    def _take_resolutions(self, round: Round, answer: Kept) -> list[str]:
        found = decoders.resolutions(answer.body, answer.received_ns)
        asked = answer.path.partition("condition=")[2].partition("&")[0].split(",")
        if any(self._cases.get(condition) is None for condition in asked):  # after a kill: who asked had opened it
            self._open(answer.received_ns)
        for what, reason in found.odd:
            round.odd(what, reason)
        for reading in found.readings:
            self._cases.hear(reading)
        # A market without a row may be decided by another source that has said so for long.
        return list(dict.fromkeys([*asked, *(reading.condition_id for reading in found.readings)]))

    def _take_tokens(self, round: Round, answer: Kept) -> list[str]:
        found = decoders.tokens(answer.body)
        for what, reason in found.odd:
            round.odd(what, reason)
        facts = {fact.token: fact for fact in found.facts}
        conditions = []
        for case in self._cases.of_tokens(facts):
            try:
                reading = decoders.of_tokens(case.condition_id, case.tokens, facts, answer.received_ns)
            except ValueError as error:
                round.odd(f"tokens of market {case.market_id}", str(error))
                continue
            if reading is not None:
                self._cases.hear(reading)
                conditions.append(case.condition_id)
        return conditions

    def _take_clob(self, answer: Kept) -> list[str]:
        condition = answer.path.rpartition("/")[2]
        case = self._cases.get(condition)
        if case is None:
            return []
        reading = decoders.clob_market(answer.body, case.tokens, answer.received_ns)
        if reading.condition_id != condition:
            return []
        self._cases.hear(reading)
        return [condition]

    def _settle(self, round: Round, conditions: Iterable[str], now_ns: int) -> None:
        decisions, conflicts = self._cases.decide(list(conditions), now_ns)
        for decision in decisions:
            _report(decision)
            case = decision.case
            round.store(
                "resolution",
                [
                    resolution_row(
                        case.market_id, case.condition_id, decision.label, decision.known_ns, decision.checked_ns,
                        case.revision,
                    )
                ],
            )  # fmt: skip
            self._intake.board.labelled(case.market_id)
        for case, conflict in conflicts:
            round.odd(f"sources of market {case.market_id}", conflict.reason)


class Forgotten:
    """Reads from the database which markets ended and have no label, or one that was not looked at again.

    A list of Gamma has no closed market, so that one which memory has lost would never be asked for.

    Args:
        intake: Has the markets and their cases.
        url: Returns the address of the database.
        clock: Gives the time.
    """

    def __init__(self, intake: Intake, url: Callable[[], str], clock: Clock) -> None:
        self._intake = intake
        self._url = url
        self._clock = clock

    def run(self, round: Round) -> Outcome:
        """Begin the cases that are missing.

        Raises:
            StoreError, ConfigError: the database failed.
        """
        now_ns = self._clock.wall_ns()
        now = datetime.fromtimestamp(now_ns // 10**9, UTC)
        volume_min = self._intake.board.rules.volume_min
        ended, labels = waited_for(
            lambda: (
                unlabelled(self._url(), volume_min, now - _SEEN_WITHIN, now, _MOST_FORGOTTEN),
                unchecked(self._url(), now - _LABELLED_WITHIN, _MOST_FORGOTTEN),
            ),
            round.stop,
        )
        # What is in memory as a market is asked for once it has ended.
        cases = [Case(*one, next_ns=now_ns) for one in ended if self._intake.board.get(one.market_id) is None]
        cases += [
            Case(
                one.market_id, one.condition_id, one.tokens, one.known_ns + RECHECK_NS,
                payouts=one.payouts, labelled_ns=one.known_ns, revision=one.revision,
            )
            for one in labels
        ]  # fmt: skip
        added = self._intake.cases.add(cases)
        if not added:
            return Outcome("skipped", "nothing due")
        _log.info("markets.unlabelled", cases=added)
        return Outcome(detail=f"{added} cases were forgotten")

    def take(self, round: Round, answer: Kept) -> None:
        """Do nothing: this job asks no service."""


def _tokens_of(cases: Sequence[Case]) -> str:
    return paths.tokens(token for case in cases for token in case.tokens)


def _report(decision: Decision) -> None:
    if decision.before is not None and decision.before != decision.label.payouts:
        _log.error(
            "market.label_changed", market=decision.case.market_id, before=str(decision.before),
            after=str(decision.label.payouts), sources=",".join(decision.label.sources),
        )  # fmt: skip
