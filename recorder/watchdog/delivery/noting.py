"""What a person does about alerts: acknowledge them, silence a rule, end a silence. For the command and the page."""

from collections.abc import Collection
from pathlib import Path

from recorder.errors import ConfigError, nearest
from recorder.watchdog.delivery.marks import SILENCE_MAX_S, Ack, Marks, Silence, change
from recorder.watchdog.rules import BY_ID

NOTE_MAX = 200


def acknowledge(home: Path, ids: Collection[int], note: str, now: float) -> None:
    """Note that a person has seen alerts; an earlier note about them is replaced.

    Raises:
        ConfigError: the marks cannot be changed.
    """
    acks = tuple(Ack(one, now, note[:NOTE_MAX]) for one in ids)
    change(
        home, now, lambda marks: Marks((*(one for one in marks.acks if one.alert_id not in ids), *acks), marks.silences)
    )


def silence(home: Path, rule: str, subject: str | None, length_s: float, note: str, now: float) -> None:
    """Silence a rule for a time; an earlier silence of the same subject is replaced.

    Args:
        home: State directory of the appliance.
        rule: Its id.
        subject: Venue or program; None for all subjects.
        length_s: How long, at most SILENCE_MAX_S.
        note: Shown in the list.
        now: Unix seconds.

    Raises:
        ConfigError: there is no such rule, the length is not possible, or the marks cannot be changed.
    """
    require_rule(rule)
    if not 0 < length_s <= SILENCE_MAX_S:
        raise ConfigError("a silence lasts more than 0 s and at most 30 days")
    made = Silence(rule, subject, now, now + length_s, note[:NOTE_MAX])
    change(
        home,
        now,
        lambda marks: Marks(
            marks.acks, (*(one for one in marks.silences if (one.rule, one.subject) != (rule, subject)), made)
        ),
    )


def end_silences(home: Path, rule: str, subject: str | None, now: float) -> list[Silence]:
    """End the silences of a rule, and return them.

    Args:
        home: State directory of the appliance.
        rule: Its id.
        subject: Only the one of this subject; None for all of the rule.
        now: Unix seconds.

    Raises:
        ConfigError: there is no such rule, or the marks cannot be changed.
    """
    require_rule(rule)
    ended: list[Silence] = []

    def edit(marks: Marks) -> Marks:
        ended.extend(one for one in marks.silences if one.rule == rule and (not subject or one.subject == subject))
        return Marks(marks.acks, tuple(one for one in marks.silences if one not in ended))

    change(home, now, edit)
    return ended


def require_rule(rule: str) -> None:
    """Refuse an id that no rule has.

    Raises:
        ConfigError: it is unknown.
    """
    if rule not in BY_ID:
        raise ConfigError(f"there is no rule {rule!r}{nearest(rule, BY_ID)}")
