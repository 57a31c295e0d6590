"""The ids under which the outcomes of a market trade. A market of either version may name both kinds."""

from collections.abc import Sequence
from typing import Literal

Version = Literal["v1", "v2"]


def trading_ids(
    version: str | None, positions: Sequence[str], clob: Sequence[str]
) -> tuple[Version | None, Sequence[str]]:
    """Return the version of a market and its ids in the order of its outcomes; without ids where it has none yet.

    Args:
        version: The venue's word; absent in older answers.
        positions: positionIds, the ids of v2.
        clob: clobTokenIds, the ids of v1.

    Raises:
        ValueError: They are not certain, or only some outcomes have an id.
    """
    ids: Sequence[str]
    found: Version | None
    match version:
        case "v1":
            found, ids = version, clob
        case "v2":
            found, ids = version, positions
        case None if not any(positions):
            found, ids = ("v1" if any(clob) else None), clob
        case _:
            raise ValueError(f"ids of version {version!r} are not known")
    if not any(ids):
        return found, ()
    if not all(ids):
        raise ValueError("only some of its tokens have an id")
    return found, ids
