"""The life of an alert: it fires after its time, is resolved once, and no restart or clock changes that."""

import itertools

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from recorder.watchdog.alerts import Alert, Change, Finding, Held, alert_of, step

FOR_S = {"a": 0.0, "b": 10.0, "c": 60.0}
CLEAR_S = 15.0


class Life:
    """Rounds one after the other."""

    def __init__(self) -> None:
        self.held: list[Held] = []
        self.changes: list[tuple[float, Change]] = []  # with the monotonic time
        self.now_s = 0.0
        self._ids = itertools.count(1)

    def round(self, passed_s: float, present: set[tuple[str, str]], *, unknown: bool = False) -> list[Change]:
        self.now_s += passed_s
        findings = [Finding(rule, subject, "found") for rule, subject in sorted(present)]
        self.held, changes = step(
            self.held, findings, passed_s, 1e9 + self.now_s, for_s=FOR_S.__getitem__, clear_s=CLEAR_S,
            unknown=lambda _held: unknown, new_id=self._ids.__next__,
        )  # fmt: skip
        self.changes += [(self.now_s, change) for change in changes]
        return changes

    def restart(self) -> None:
        self.held = msgspec.json.decode(msgspec.json.encode(self.held), type=list[Held])


def names(changes: list[Change]) -> list[str]:
    return [change.to for change in changes]


def test_a_condition_fires_after_its_time_and_is_resolved_when_it_is_gone_for_a_while() -> None:
    life, key = Life(), ("b", "x")
    assert names(life.round(0.0, {key})) == ["pending"]
    assert names(life.round(6.0, {key})) == []
    assert names(life.round(6.0, {key})) == ["firing"]
    assert names(life.round(10.0, set())) == []
    assert names(life.round(1.0, {key})) == [], "it came back in time"
    assert names(life.round(10.0, set())) == []
    assert names(life.round(10.0, set())) == ["resolved"]
    assert life.held == []


def test_a_condition_that_is_gone_before_its_time_never_fires() -> None:
    life = Life()
    life.round(0.0, {("c", "")})
    assert names(life.round(30.0, set())) == ["cleared"]
    assert names(life.round(0.0, {("c", "")})) == ["pending"]
    assert names(life.round(59.0, {("c", "")})) == []


def test_without_evidence_an_alert_stays_as_it_is() -> None:
    life = Life()
    life.round(0.0, {("a", "x"), ("c", "x")})
    assert life.round(1_000.0, set(), unknown=True) == []
    assert [held.firing for held in life.held] == [True, False]


def test_a_resolved_alert_keeps_what_was_found_when_it_fired() -> None:
    held = Held("a", "x", "40 s", 40.0, 1.0, alert_id=5, fired_at=2.0)
    fired = alert_of(Change("firing", held, 2.0), "page", None)
    later = msgspec.structs.replace(held, text="90 s", value=90.0)
    over = alert_of(Change("resolved", later, 9.0), "page", fired)
    assert (over.summary, over.value, over.resolved_at, over.revision) == ("40 s", 40.0, 9.0, 2)
    assert isinstance(over, Alert)


KEYS = st.sets(st.sampled_from([("a", "x"), ("b", "x"), ("b", "y"), ("c", "")]))
ROUNDS = st.lists(st.tuples(st.integers(0, 40), KEYS, st.booleans(), st.booleans()), max_size=20)


@given(ROUNDS)
def test_alerts_of_any_history_follow_their_order_and_their_times(
    rounds: list[tuple[int, set[tuple[str, str]], bool, bool]],
) -> None:
    life = Life()
    for passed_s, present, restarts, unknown in rounds:
        life.round(passed_s, present, unknown=unknown)
        if restarts:
            life.restart()
    allowed = {None: {"pending"}, "pending": {"cleared", "firing"}, "firing": {"resolved"},
               "cleared": {"pending"}, "resolved": {"pending"}}  # fmt: skip
    last: dict[tuple[str, str], tuple[str | None, float]] = {}
    ids: dict[int, tuple[str, str]] = {}
    for now_s, change in life.changes:
        key = change.held.key
        before, since_s = last.get(key, (None, 0.0))
        assert change.to in allowed[before], (before, change)
        if change.to == "firing":
            assert now_s - since_s >= FOR_S[key[0]] - 1e-6, "not before its time"
            assert ids.setdefault(change.held.alert_id, key) == key, "an id is of one alert"
        if change.to == "resolved":
            assert now_s - since_s >= CLEAR_S - 1e-6
        last[key] = change.to, now_s
    open_keys = [held.key for held in life.held]
    assert len(open_keys) == len(set(open_keys)), "one of each rule and subject"


@given(ROUNDS)
def test_a_restart_between_rounds_changes_nothing(
    rounds: list[tuple[int, set[tuple[str, str]], bool, bool]],
) -> None:
    def played(*, with_restarts: bool) -> list[tuple[float, Change]]:
        life = Life()
        for passed_s, present, restarts, unknown in rounds:
            life.round(passed_s, present, unknown=unknown)
            if restarts and with_restarts:
                life.restart()
        return life.changes

    assert played(with_restarts=False) == played(with_restarts=True)
