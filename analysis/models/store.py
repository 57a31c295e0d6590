"""Store models and their predictions in Postgres: rows that are written once and never changed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from analysis.load.postgres import connected
from analysis.models.model import ModelMetadata
from analysis.models.score import Predictions
from recorder.store.database import judge

TRAINER = "tapedeck_trainer"

_REGISTER = """
    INSERT INTO model (name, version, created_at, dataset, baseline, features, sources, first_decision_at,
                       last_label_at, row_count, seed, code, trees, shrinkage, metadata)
    SELECT f ->> 'name', f ->> 'version', (f ->> 'created')::timestamptz, f ->> 'dataset', f ->> 'baseline',
           f -> 'features', f -> 'sources', $2::timestamptz, $3::timestamptz, (f ->> 'rows')::bigint,
           (f ->> 'seed')::bigint, f ->> 'code', (f ->> 'rounds')::bigint, (f ->> 'shrinkage')::float8, f
      FROM (SELECT $1::jsonb AS f) AS given
        ON CONFLICT DO NOTHING"""
_SCORE = """
    WITH written AS (
        INSERT INTO prediction (model_name, model_version, subject, decided_at, probability, baseline)
        SELECT $1, $2, subject, decided_at, probability, baseline FROM pg_temp.scored
            ON CONFLICT DO NOTHING
         RETURNING 1)
    SELECT count(*) FROM written"""


def register(url: str, metadata: ModelMetadata) -> None:
    """Insert a model; calling it again changes nothing.

    Args:
        url: DATABASE_URL.
        metadata: Metadata of the model.

    Raises:
        StoreUnavailable: The database cannot be reached.
        ConfigError: The login lacks the role, or the schema is too old.
    """
    with _writing(url) as cursor:
        _enter(cursor, metadata)


def write_predictions(url: str, metadata: ModelMetadata, rows: Predictions) -> int:
    """Insert the predictions of a model, and the model itself when it is missing; existing rows stay.

    Returns:
        How many rows were new.

    Raises:
        StoreUnavailable: The database cannot be reached.
        ConfigError: The login lacks the role, or the schema is too old.
    """
    with _writing(url) as cursor:
        _enter(cursor, metadata)
        cursor.adbc_ingest("scored", rows.table(), mode="create", temporary=True)
        cursor.execute(_SCORE, [metadata.name, metadata.version])
        (written,) = cursor.fetchone()
        cursor.execute("DROP TABLE pg_temp.scored")
        return int(written)


def _enter(cursor: Any, metadata: ModelMetadata) -> None:
    spans = (_utc(metadata.first_decision_ns), _utc(metadata.last_label_ns))
    cursor.execute(_REGISTER, [json.dumps(metadata.json(), allow_nan=False), *spans])


def _utc(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1000 / 1e6, UTC).isoformat()


@contextmanager
def _writing(url: str) -> Iterator[Any]:
    """Open a transaction with the rights of a trainer; commit it when the block ends well."""
    with connected(url, TRAINER) as connection, connection.cursor() as cursor:
        try:
            yield cursor
            connection.commit()
        except pa.ArrowInvalid as error:
            raise judge("22000", str(error)) from error
