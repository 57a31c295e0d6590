"""Which message is sent when: cooldown, flapping, reminders, resolutions, silences, order, bounds, and kills."""

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.machine.message_sinks import AT, NO_MARKS, alert, drained, outbox, over

from recorder.backoff import WAIT_MAX_S
from recorder.watchdog.alerts import Alert
from recorder.watchdog.delivery.marks import Ack, Marks, Silence
from recorder.watchdog.delivery.message import Message
from recorder.watchdog.delivery.outbox import MISSING_S, MOST_MESSAGES, MOST_OF_ONE, Answer, Outbox, State


def kinds(queue: Outbox) -> list[str]:
    return [message.kind for message in drained(queue)]


def restarted(queue: Outbox, **more: float) -> Outbox:
    """Return the queue of the next process, which has only what is on disk."""
    return outbox(msgspec.json.decode(msgspec.json.encode(queue.state), type=State), **more)  # type: ignore[arg-type]


def test_an_alert_is_sent_once_and_its_resolution_follows_at_once() -> None:
    queue, first = outbox(), alert()
    assert queue.tick([first], NO_MARKS, AT, 1)
    assert kinds(queue) == ["firing"]
    assert not queue.tick([first], NO_MARKS, AT + 5, 5)
    assert kinds(queue) == []
    queue.tick([over(first, AT + 20)], NO_MARKS, AT + 20, 15)
    assert kinds(queue) == ["resolved"]
    queue.tick([over(first, AT + 20)], NO_MARKS, AT + 2000, 1980)
    assert kinds(queue) == []
    assert queue.state.topics == []


def test_flapping_each_30_s_becomes_one_summary_in_a_cooldown() -> None:
    queue = outbox(cooldown_s=900)
    sent: list[tuple[float, str, int]] = []
    book: list[Alert] = []
    for at in range(0, 7200, 15):
        if at % 30 == 0:
            book.append(alert(at + 1, fired_at=AT + at))
        else:
            book[-1] = over(book[-1], AT + at)
        queue.tick(book, NO_MARKS, AT + at, 15 if at else 0)
        sent += [(at, message.kind, message.times) for message in drained(queue)]
    assert sent[:2] == [(0, "firing", 1), (15, "resolved", 0)]
    assert [kind for _, kind, _ in sent[2:]] == ["summary"] * 7
    assert [at for at, _, _ in sent[2:]] == [900 * n for n in range(1, 8)]
    assert sum(times for _, _, times in sent) == 1 + 30 * 7  # every firing is accounted for


def test_the_end_of_flapping_is_reported_at_the_end_of_the_cooldown() -> None:
    queue = outbox(cooldown_s=100)
    first, second = alert(1), alert(2, fired_at=AT + 20)
    queue.tick([first], NO_MARKS, AT, 0)
    queue.tick([over(first, AT + 10)], NO_MARKS, AT + 10, 10)
    queue.tick([over(first, AT + 10), second], NO_MARKS, AT + 20, 10)
    assert kinds(queue) == ["firing", "resolved"]
    book = [over(first, AT + 10), over(second, AT + 30)]
    queue.tick(book, NO_MARKS, AT + 30, 10)
    assert kinds(queue) == []
    queue.tick(book, NO_MARKS, AT + 100, 70)
    (summary,) = drained(queue)
    assert (summary.kind, summary.times, summary.alert.state) == ("summary", 1, "resolved")


def test_a_cooldown_is_never_shortened_by_a_restart() -> None:
    queue, first = outbox(), alert(1)
    queue.tick([first], NO_MARKS, AT, 0)
    assert kinds(queue) == ["firing"]
    queue = restarted(queue)
    again = alert(2, fired_at=AT + 50)
    queue.tick([over(first, AT + 40), again], NO_MARKS, AT + 50, 50)
    assert kinds(queue) == []
    queue.tick([over(first, AT + 40), again], NO_MARKS, AT + 900, 849)
    assert kinds(queue) == []
    queue.tick([over(first, AT + 40), again], NO_MARKS, AT + 900, 1)
    assert kinds(queue) == ["summary"]


def test_reminders_come_until_a_person_acknowledges_the_alert() -> None:
    queue, first = outbox(cooldown_s=10, reminder_s=100), alert(3)
    queue.tick([first], NO_MARKS, AT, 0)
    assert kinds(queue) == ["firing"]
    queue.tick([first], NO_MARKS, AT, 100)
    assert kinds(queue) == ["reminder"]
    seen = Marks(acks=(Ack(3, AT),))
    queue.tick([first], seen, AT, 500)
    assert kinds(queue) == []
    queue.tick([over(first, AT)], seen, AT, 1)
    assert kinds(queue) == ["resolved"]


def test_a_silence_holds_messages_back_and_what_fires_at_its_end_is_sent() -> None:
    queue, first, second = outbox(), alert(1), alert(2, subject="okx")
    quiet = Marks(silences=(Silence("venue_no_data", None, AT, AT + 100),))
    queue.tick([first, second], quiet, AT, 0)
    assert kinds(queue) == []
    queue.tick([first, over(second, AT + 50)], quiet, AT + 50, 50)
    assert kinds(queue) == []
    queue.tick([first, over(second, AT + 50)], quiet, AT + 100, 50)
    assert [(m.kind, m.alert.subject) for m in drained(queue)] == [("firing", "kraken")]


def test_what_was_over_before_the_first_start_is_not_sent() -> None:
    queue = outbox(State())
    queue.tick([over(alert(1), AT), alert(2, subject="okx")], NO_MARKS, AT, 0)
    assert [message.alert.alert_id for message in drained(queue)] == [2]


def test_less_urgent_alerts_than_the_least_are_not_sent() -> None:
    queue = outbox(least="ticket")
    queue.tick([alert(1, severity="info"), alert(2, "lineage", severity="ticket")], NO_MARKS, AT, 0)
    assert [message.alert.alert_id for message in drained(queue)] == [2]


def test_pages_go_first_and_each_rule_keeps_its_order() -> None:
    queue, ticket, page = outbox(cooldown_s=10), alert(1, "lineage", "", "ticket"), alert(2)
    queue.tick([ticket, page], NO_MARKS, AT, 0)
    queue.tick([over(ticket, AT), over(page, AT)], NO_MARKS, AT, 1)
    assert [(m.alert.rule, m.kind) for m in drained(queue)] == [
        ("venue_no_data", "firing"), ("venue_no_data", "resolved"), ("lineage", "firing"), ("lineage", "resolved"),
    ]  # fmt: skip


def test_a_channel_that_fails_is_left_alone_for_a_while_and_the_others_go_on() -> None:
    queue = outbox(channels=("webhook", "email"))
    queue.tick([alert()], NO_MARKS, AT, 0)
    entry = queue.next("webhook")
    assert entry is not None
    queue.begin(entry, "webhook")
    queue.end(entry, "webhook", Answer("later", "HTTP 429", 600))
    assert queue.next("webhook") is None
    assert len(drained(queue, "email")) == 1
    queue.tick([alert()], NO_MARKS, AT, 599)
    assert queue.next("webhook") is None
    queue.tick([alert()], NO_MARKS, AT, 2)
    assert kinds(queue) == ["firing"]
    assert queue.state.entries == []


def test_no_receiver_can_ask_for_more_than_15_minutes() -> None:
    queue = outbox()
    queue.tick([alert()], NO_MARKS, AT, 0)
    entry = queue.next("webhook")
    assert entry is not None
    queue.begin(entry, "webhook")
    queue.end(entry, "webhook", Answer("later", "HTTP 429", 1e9))
    assert queue.state.channels["webhook"].pause_s == WAIT_MAX_S


def test_an_attempt_without_an_outcome_is_repeated_only_after_a_cooldown() -> None:
    queue = outbox(cooldown_s=900)
    queue.tick([alert()], NO_MARKS, AT, 0)
    entry = queue.next("webhook")
    assert entry is not None
    queue.begin(entry, "webhook")
    queue = restarted(queue)  # a kill after the attempt was noted
    queue.tick([alert()], NO_MARKS, AT, 899)
    assert queue.next("webhook") is None
    queue.tick([alert()], NO_MARKS, AT, 1)
    again = queue.next("webhook")
    assert again is not None
    assert again.waiting["webhook"].unknown == 1
    assert again.message == entry.message


def test_a_kill_before_the_attempt_delays_nothing() -> None:
    queue = outbox()
    queue.tick([alert()], NO_MARKS, AT, 0)
    queue = restarted(queue)
    queue.tick([alert()], NO_MARKS, AT, 0)
    assert kinds(queue) == ["firing"]


def test_a_message_that_is_refused_three_times_is_left_out_and_counted() -> None:
    queue = outbox()
    queue.tick([alert()], NO_MARKS, AT, 0)
    for _ in range(3):
        queue.tick([alert()], NO_MARKS, AT, 1000)
        entry = queue.next("webhook")
        assert entry is not None
        queue.begin(entry, "webhook")
        queue.end(entry, "webhook", Answer("refused", "HTTP 400"))
    assert queue.state.entries == []
    assert queue.state.channels["webhook"].left_out == 1


def test_the_queue_is_bounded_and_says_what_it_left_out() -> None:
    queue = outbox(cooldown_s=10)
    book = [alert(n, subject=f"venue-{n}", fired_at=AT + n) for n in range(MOST_MESSAGES + 50)]
    queue.tick(book, NO_MARKS, AT, 0)
    assert len(queue.state.entries) == MOST_MESSAGES
    assert sum(message.lost for message in drained(queue)) == 50


def test_messages_about_one_alert_that_wait_become_one() -> None:
    queue, book = outbox(cooldown_s=10), []
    for n in range(40):
        book = [alert(n, fired_at=AT + 10 * n)]
        queue.tick(book, NO_MARKS, AT + 10 * n, 10)
    assert len(queue.state.entries) == MOST_OF_ONE
    messages = drained(queue)
    assert messages[-1].left_out == 40 - MOST_OF_ONE
    assert sum(message.times for message in messages) == 40


def test_an_alert_that_the_book_lost_is_over_after_a_while() -> None:
    queue = outbox()
    queue.tick([alert()], NO_MARKS, AT, 0)
    assert kinds(queue) == ["firing"]
    queue.tick([], NO_MARKS, AT, MISSING_S - 1)
    assert kinds(queue) == []
    queue.tick([], NO_MARKS, AT, 1)
    assert kinds(queue) == ["resolved"]


def test_a_channel_that_is_no_longer_set_keeps_nothing() -> None:
    queue = outbox(channels=("webhook", "email"))
    queue.tick([alert()], NO_MARKS, AT, 0)
    drained(queue)
    assert len(queue.state.entries) == 1
    state = msgspec.json.decode(msgspec.json.encode(queue.state), type=State)
    assert outbox(state).state.entries == []


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["fire", "resolve", "wait"]),
            st.sampled_from(["taken", "later", "unknown", "kill before", "kill after", "idle"]),
            st.integers(0, 400),
        ),
        max_size=60,
    )
)
def test_whatever_fails_nothing_is_lost_and_nothing_comes_twice_within_a_cooldown(
    steps: list[tuple[str, str, int]],
) -> None:
    cooldown_s = 300.0
    queue = outbox(cooldown_s=cooldown_s)
    book: list[Alert] = []
    received: list[tuple[float, Message]] = []  # when, and what
    now = 0.0

    def deliver(queue: Outbox, how: str) -> Outbox:
        if how == "kill before":
            return restarted(queue, cooldown_s=cooldown_s)
        entry = queue.next("webhook")
        if entry is None or how == "idle":
            return queue
        queue.begin(entry, "webhook")
        if how in ("taken", "unknown", "kill after"):  # unknown: it arrived, the answer did not
            received.append((now, entry.message))
        if how == "kill after":
            return restarted(queue, cooldown_s=cooldown_s)
        queue.end(entry, "webhook", Answer(how, ""))  # type: ignore[arg-type]
        return queue

    for event, how, wait_s in steps:
        if event == "fire" and (not book or book[-1].state == "resolved"):
            book.append(alert(len(book) + 1, fired_at=AT + now))
        elif event == "resolve" and book and book[-1].state == "firing":
            book[-1] = over(book[-1], AT + now)
        now += wait_s
        queue.tick(book, NO_MARKS, AT + now, wait_s)
        queue = deliver(queue, how)
    for _ in range(100):
        now += 100
        queue.tick(book, NO_MARKS, AT + now, 100)
        queue = deliver(queue, "taken")
    for index, (at, message) in enumerate(received):
        assert all(at - earlier >= cooldown_s for earlier, other in received[:index] if other.id == message.id)
    unique = {message.id: message for _, message in received}.values()
    assert sum(message.times for message in unique) == len(book)
    assert queue.state.entries == []
    if book:
        assert unique
        last = max(unique, key=lambda message: (message.at, message.alert.alert_id, message.number))
        assert last.alert.state == book[-1].state
