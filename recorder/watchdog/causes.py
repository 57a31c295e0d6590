"""One alert for one cause: a condition that another one explains stays silent beside it. Pure."""

from collections.abc import Iterable, Mapping, Set

from recorder.shards import venue_of
from recorder.watchdog.alerts import Finding, Key
from recorder.watchdog.rules import Limit

_OF_ALL_VENUES = ("simulator",)
"""Programs without which no venue delivers."""
_OF_POSTGRES = ("postgres", "writer")
"""Programs without which nothing reaches Postgres."""
_HOME, _JOURNAL = "home", "journal"
"""The names of disks: one that is full stops what writes to it. Where the journals have none, they are on home."""


def without_consequences(findings: Iterable[Finding], judged: Mapping[str, Limit]) -> tuple[list[Finding], set[Key]]:
    """Return the findings that nothing else explains, and the keys of those that are explained.

    Args:
        findings: All of a round.
        judged: The rules.
    """
    found = list(findings)
    explained = _explained(found, found, judged)
    return [one for one in found if one.key not in explained], explained


def _explained(found: Iterable[Finding], causes: Iterable[Finding], judged: Mapping[str, Limit]) -> set[Key]:
    """Return the keys of the findings that some of the causes explain."""
    by_rule: dict[str, list[Finding]] = {}
    for one in causes:
        by_rule.setdefault(one.rule, []).append(one)
    return {
        one.key
        for one in found
        for cause in judged[one.rule].rule.caused_by
        for other in by_rule.get(cause, ())
        if covers(other.subject, one)
    }


class Consequences:
    """Remembers which conditions a cause explained: a venue needs its next connect until the failures are over.

    Only an alert that fires is remembered. A condition that comes and goes without an alert must not keep silent what
    stays, or nothing would be reported at all.
    """

    def __init__(self) -> None:
        self._explained_s: dict[Key, float] = {}

    def without(
        self, findings: Iterable[Finding], judged: Mapping[str, Limit], now_s: float
    ) -> tuple[list[Finding], set[Key]]:
        """Do as `without_consequences` does, and leave out what was a consequence until shortly before.

        Args:
            findings: All of a round.
            judged: The rules.
            now_s: Monotonic.
        """
        left, explained = without_consequences(findings, judged)
        present = {one.key for one in left}
        for key, at_s in list(self._explained_s.items()):
            if key not in explained | present or now_s - at_s > judged[key[0]].rule.lasts_s:
                del self._explained_s[key]
        lasting = set(self._explained_s)
        return [one for one in left if one.key not in lasting], explained | lasting

    def remember(
        self, findings: Iterable[Finding], judged: Mapping[str, Limit], now_s: float, firing: Set[Key]
    ) -> None:
        """Note what the alerts that fire explain.

        Args:
            findings: All of the round.
            judged: The rules.
            now_s: Monotonic.
            firing: The alerts that fire after the round.
        """
        found = list(findings)
        causes = [one for one in found if one.key in firing]
        self._explained_s |= dict.fromkeys(_explained(found, causes, judged), now_s)


def covers(cause: str, finding: Finding) -> bool:
    """Return whether a condition of one subject can explain a finding.

    The appliance and the disk of its home explain everything, the disk of the journals what writes to them, a recorder
    its venue and the other way round, the simulator all venues, and Postgres and the writer what is found in the
    database.
    """
    subject = finding.subject
    if cause in ("", subject):
        return True
    if cause == _HOME:
        return subject != _JOURNAL
    if cause == _JOURNAL:
        return finding.rule == "disk_days" or subject == "poller" or venue_of(subject) is not None
    venue = venue_of(subject) or subject
    if (venue_of(cause) or cause) == venue:
        return True
    if venue_of(cause) and finding.rule == "program_unwell" and subject == "writer":
        return True  # it reports what is wrong with a journal that it loads
    if cause in _OF_ALL_VENUES:
        return subject not in ("writer", "deriver", "postgres")  # it serves what is polled, too
    if cause in _OF_POSTGRES:
        return finding.rule in ("database_lagging", "database_down") or subject in ("writer", "deriver")
    return False
