"""The job that keeps the subscriptions of streams as the tiers want them."""

from collections.abc import Callable

from recorder.clock import Clock
from recorder.events import CHANNELS
from recorder.instruments.subscription_store import follow, followed
from recorder.poller.discovery import waited_for
from recorder.poller.job import Kept, Outcome, Round
from recorder.poller.polymarket.intake import Intake
from recorder.poller.polymarket.streams import PRIORITIES, Candidate, plan
from recorder.poller.polymarket.tiers import scheduled_end_ns
from recorder.process.log import get_logger

_PRUNE_EVERY_NS = 600 * 10**9

_log = get_logger(__name__)


class FollowTiers:
    """Subscribes to the markets that end soonest, and ends what is over every ten minutes.

    Args:
        intake: Has the markets.
        venue: Name of the venue in table subscription.
        url: Returns the address of the database.
        most: Markets that may be streamed.
        clock: Gives the time.
    """

    def __init__(self, intake: Intake, venue: str, url: Callable[[], str], most: int, clock: Clock) -> None:
        self._intake = intake
        self._venue = venue
        self._url = url
        self._most = most
        self._clock = clock
        self._pruned_ns = 0

    def run(self, round: Round) -> Outcome:
        """Change the subscriptions.

        Raises:
            StoreError, ConfigError: the database failed; nothing was changed.
        """
        now_ns = self._clock.wall_ns()
        if not self._intake.complete:
            return Outcome("skipped", "nothing due")  # a start without memory must not end what is streamed
        present = waited_for(lambda: followed(self._url(), self._venue), round.stop)
        prune = not 0 <= now_ns - self._pruned_ns < _PRUNE_EVERY_NS
        changes = plan(self._candidates(now_ns), present, self._over(), self._most, now_ns, prune=prune)
        if prune:
            self._pruned_ns = now_ns
        if not changes.join and not changes.leave:
            return Outcome(detail=f"{len(present)} tokens, as they are")
        waited_for(lambda: follow(self._url(), self._venue, changes.join, changes.leave, CHANNELS), round.stop)
        _log.info("poll.streams", venue=self._venue, joined=len(changes.join), left=len(changes.leave))
        return Outcome(detail=f"{len(changes.join)} tokens join or move, {len(changes.leave)} leave")

    def take(self, round: Round, answer: Kept) -> None:
        """Do nothing: this job asks no service."""

    def _candidates(self, now_ns: int) -> list[Candidate]:
        candidates = []
        for tier in PRIORITIES:
            for market in self._intake.board.polled(tier):
                seen = self._intake.board.seen(market.market_id)
                if seen is not None:
                    end_ns = scheduled_end_ns(market, now_ns, self._intake.board.rules)
                    has_book = seen.booked and not seen.missing
                    candidates.append(Candidate(market, tier, seen.traded_ns, end_ns, has_book))
        return candidates

    def _over(self) -> set[str]:
        """Return the tokens of the markets that bring nothing any more."""
        return {
            token
            for market, verdict in self._intake.board.all()
            if verdict.reason in ("resolution", "no book")
            for token in market.tokens
        }
