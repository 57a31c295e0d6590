"""Labels: two sources agree, or one after 24 hours; a contradiction is no label."""

from recorder.poller.polymarket.labels import ALONE_NS, Conflict, Final, Label, decide, heard
from recorder.venues.polymarket.polls.resolutions import Reading, Source

WON, LOST, HALF = (1_000_000, 0), (0, 1_000_000), (500_000, 500_000)
T0 = 1_790_000_000 * 10**9


def reading(source: Source, payouts: tuple[int, int] | None, at_ns: int = T0) -> Reading:
    """Return a source's statement."""
    return Reading(source, "0x" + "ab" * 32, "resolved", payouts, None, None, None, at_ns, b"{}")


def after(*readings: Reading) -> dict[Source, Final]:
    """Return what the sources say after some readings."""
    finals: dict[Source, Final] = {}
    for one in readings:
        finals = heard(finals, one)
    return finals


def test_two_sources_that_agree_are_enough_at_once() -> None:
    label = decide(after(reading("tokens", WON), reading("resolutions", WON)), T0)
    assert isinstance(label, Label)
    assert (label.payouts, label.sources) == (WON, ("resolutions", "tokens"))
    assert set(label.raw) == {"resolutions", "tokens"}


def test_one_source_is_enough_after_24_hours() -> None:
    finals = after(reading("resolutions", HALF), reading("resolutions", HALF, T0 + ALONE_NS - 1))
    assert decide(finals, T0 + ALONE_NS - 1) is None
    label = decide(finals, T0 + ALONE_NS)
    assert isinstance(label, Label)
    assert label.payouts == HALF


def test_sources_that_contradict_each_other_give_no_label_however_long() -> None:
    finals = after(reading("resolutions", WON), reading("gamma", LOST), reading("clob", WON))
    verdict = decide(finals, T0 + 10 * ALONE_NS)
    assert isinstance(verdict, Conflict)
    assert "gamma says (0, 1000000)" in verdict.reason


def test_a_source_that_changes_its_statement_begins_again() -> None:
    later = T0 + ALONE_NS
    finals = after(reading("resolutions", WON), reading("resolutions", LOST, later))
    assert decide(finals, later) is None
    assert decide(finals, later + ALONE_NS) == (LOST, ("resolutions",), None, None, {"resolutions": b"{}"})


def test_a_source_that_takes_its_statement_back_says_nothing() -> None:
    finals = after(reading("resolutions", WON), reading("tokens", WON), reading("tokens", None, T0 + 1))
    assert decide(finals, T0 + 1) is None
    assert decide(after(reading("gamma", None)), T0 + 10 * ALONE_NS) is None


def test_an_older_answer_changes_nothing() -> None:
    finals = after(reading("resolutions", WON, T0), reading("resolutions", LOST, T0 - 1))
    assert finals["resolutions"].payouts == WON
