"""Models and their predictions in Postgres: rows that are written once and never changed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from analysis.models.model import Facts
from analysis.models.score import Predictions
from recorder.database import CONNECT_TIMEOUT_S, check_url, judge

TRAINER = "tapedeck_trainer"

_MAY_BECOME = """
    SELECT count(*) FROM pg_roles
     WHERE rolname = $1 AND pg_has_role(session_user, oid,
           CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)"""
_REGISTER = """
    INSERT INTO model (name, version, created_at, dataset, baseline, features, sources, first_decision_at,
                       last_label_at, row_count, seed, code, trees, share, facts)
    SELECT f ->> 'name', f ->> 'version', (f ->> 'created')::timestamptz, f ->> 'dataset', f ->> 'baseline',
           f -> 'features', f -> 'sources', $2::timestamptz, $3::timestamptz, (f ->> 'rows')::bigint,
           (f ->> 'seed')::bigint, f ->> 'code', (f ->> 'rounds')::bigint, (f ->> 'share')::float8, f
      FROM (SELECT $1::jsonb AS f) AS given
        ON CONFLICT DO NOTHING"""
_SCORE = """
    WITH written AS (
        INSERT INTO prediction (model_name, model_version, subject, decided_at, probability, baseline)
        SELECT $1, $2, subject, decided_at, probability, baseline FROM pg_temp.scored
            ON CONFLICT DO NOTHING
         RETURNING 1)
    SELECT count(*) FROM written"""


def register(url: str, facts: Facts) -> None:
    """Enter a model; once, however often it is called.

    Args:
        url: DATABASE_URL.
        facts: Of the model.

    Raises:
        StoreUnavailable: The database cannot be reached.
        ConfigError: The login lacks the role, or the schema is too old.
    """
    with _writing(url) as cursor:
        _enter(cursor, facts)


def write_predictions(url: str, facts: Facts, rows: Predictions) -> int:
    """Enter what a model said, and the model itself where it is not entered; what is there already stays.

    Returns:
        How many rows were new.

    Raises:
        StoreUnavailable: The database cannot be reached.
        ConfigError: The login lacks the role, or the schema is too old.
    """
    with _writing(url) as cursor:
        _enter(cursor, facts)
        cursor.adbc_ingest("scored", rows.table(), mode="create", temporary=True)
        cursor.execute(_SCORE, [facts.name, facts.version])
        (written,) = cursor.fetchone()
        cursor.execute("DROP TABLE pg_temp.scored")
        return int(written)


def _enter(cursor: Any, facts: Facts) -> None:
    spans = (_utc(facts.first_decision_ns), _utc(facts.last_label_ns))
    cursor.execute(_REGISTER, [json.dumps(facts.json(), allow_nan=False), *spans])


def _utc(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1000 / 1e6, UTC).isoformat()


@contextmanager
def _writing(url: str) -> Iterator[Any]:
    """A transaction with the rights of a trainer; committed when the block ends well."""
    check_url(url)
    joint = "&" if "?" in url else "?"
    try:
        options = f"application_name=tapedeck-analysis&connect_timeout={CONNECT_TIMEOUT_S}"
        with adbc.connect(f"{url}{joint}{options}") as connection, connection.cursor() as cursor:
            cursor.execute(_MAY_BECOME, [TRAINER])
            if cursor.fetchone()[0]:
                cursor.execute(f"SET ROLE {TRAINER}")
            yield cursor
            connection.commit()
    except adbc_driver_manager.Error as error:
        raise judge(error.sqlstate, str(error)) from error
    except pa.ArrowInvalid as error:
        raise judge("22000", str(error)) from error
