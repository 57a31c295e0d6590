"""What a gap that has ended is: healed, never to be healed, or open. Pure."""

from recorder.events import Gap, GapState

NO_HISTORY = "the venue keeps no history of this channel"


def state_of(gap: Gap, *, healed: bool) -> tuple[GapState, str | None]:
    """Return the state of a gap that ends now, and the reason for a person.

    Args:
        gap: As it was while it lasted.
        healed: Whether the ids on both sides follow each other.
    """
    if healed:
        return "healed", "the ids on both sides follow each other: nothing was missed"
    if gap.cause == "sequence_reset":
        return "unhealable", "the venue restarted its ids"
    if gap.channel != "trade":
        return "unhealable", NO_HISTORY
    return gap.state, gap.reason
