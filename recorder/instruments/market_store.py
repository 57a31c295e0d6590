"""Markets in the database whose label is still to be asked for, for a poller that does not remember them."""

from datetime import datetime
from typing import Any, NamedTuple

import psycopg2

from recorder.store.database import WRITER, classify, connect

_STATEMENT_S = 60.0

# The volume is that of when the market was chosen; one that was never chosen has less and gets no label.
_UNLABELLED = """
SELECT m.market_id, m.condition_id, m.tokens
  FROM market m LEFT JOIN resolution r ON r.market_id = m.market_id
 WHERE r.market_id IS NULL AND m.volume >= %(volume)s AND m.known_at > %(since)s
   AND cardinality(m.tokens) = 2 AND m.active AND NOT m.neg_risk_other
   AND (m.phase IN ('proposed', 'closed', 'resolved') OR (m.phase = 'open' AND m.end_at <= %(now)s))
 ORDER BY m.known_at DESC LIMIT %(most)s"""
_UNCHECKED = """
SELECT r.market_id, r.condition_id, coalesce(m.tokens, '{}'), r.payout_0, r.payout_1,
       (extract(epoch FROM r.known_at) * 1000000)::bigint, r.revision
  FROM resolution r LEFT JOIN market m ON m.market_id = r.market_id
 WHERE r.checked_at IS NULL AND r.known_at > %(since)s
 ORDER BY r.known_at DESC LIMIT %(most)s"""


class Unlabelled(NamedTuple):
    """A market that has ended and has no label."""

    market_id: int
    condition_id: str
    tokens: tuple[str, ...]  # by outcome


class Unchecked(NamedTuple):
    """A label that was not looked at again."""

    market_id: int
    condition_id: str
    tokens: tuple[str, ...]
    payouts: tuple[int, int]  # micro-USDC
    known_ns: int
    revision: int


def unlabelled(url: str, volume_min: float, since: datetime, now: datetime, most: int) -> list[Unlabelled]:
    """Return the markets that ended and have no label, those that were seen last first.

    Args:
        url: Of the database, as the writer's role.
        volume_min: Of the markets, USDC.
        since: Markets that were not seen after this time are left out.
        now: The time.
        most: Of the result.

    Raises:
        StoreError, ConfigError: the database failed.
    """
    given = {"volume": volume_min, "since": since, "now": now, "most": most}
    return [Unlabelled(row[0], row[1], tuple(row[2])) for row in _rows(url, _UNLABELLED, given)]


def unchecked(url: str, since: datetime, most: int) -> list[Unchecked]:
    """Return the labels since a time that were not looked at again, the newest first.

    Raises:
        StoreError, ConfigError: the database failed.
    """
    rows = _rows(url, _UNCHECKED, {"since": since, "most": most})
    return [Unchecked(row[0], row[1], tuple(row[2]), (row[3], row[4]), row[5] * 1000, row[6]) for row in rows]


def _rows(url: str, text: str, given: dict[str, object]) -> list[tuple[Any, ...]]:
    connection = connect(url, application_name="poller", role=WRITER, statement_timeout_s=_STATEMENT_S)
    try:
        with connection.cursor() as cursor:
            cursor.execute(text, given)
            return cursor.fetchall()
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()
