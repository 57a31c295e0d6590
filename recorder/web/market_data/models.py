"""Registered models and how their predictions came out."""

from typing import Any

from recorder.store.database import Cursor

PAGE = 100
PREDICTIONS = 20

_MODELS = """
SELECT name, version, created_at, dataset, baseline, first_decision_at, last_label_at, row_count, seed, code, trees,
       shrinkage, metadata, registered_at
  FROM model ORDER BY name, version DESC LIMIT %(limit)s"""

# A subject is a slug, an id or a condition of a market; only a full payout of one outcome is a label.
_SCORES = """
WITH label AS (
    SELECT s.subject, r.payout_0 / 1000000.0 AS paid
      FROM resolution r
      JOIN market m ON m.market_id = r.market_id
     CROSS JOIN LATERAL (VALUES (m.slug), (m.market_id::text), (m.condition_id)) AS s (subject)
     WHERE r.payout_0 IN (0, 1000000)
)
SELECT p.model_name, p.model_version, count(*), max(p.decided_at), count(l.paid),
       avg((p.probability - l.paid) ^ 2)::float8,
       avg((p.probability - l.paid) ^ 2) FILTER (WHERE p.baseline IS NOT NULL)::float8,
       avg((p.baseline - l.paid) ^ 2)::float8
  FROM prediction p
  LEFT JOIN label l ON l.subject = p.subject
 GROUP BY 1, 2"""
_OF_SUBJECT = """
SELECT DISTINCT ON (model_name, model_version) model_name, model_version, decided_at, probability, baseline
  FROM prediction WHERE subject = ANY (%(subjects)s)
 ORDER BY model_name, model_version, decided_at DESC LIMIT %(limit)s"""


def models(cursor: Cursor, limit: int = PAGE) -> list[dict[str, Any]]:
    """Return the registered models by name, the newest version first, with `score`.

    Returns:
        Columns of `model`, and `score`: predictions, last (decision time of the last one), scored (with a known
        outcome), brier, and brier_shared beside baseline_brier over those with a baseline; None where nothing can be
        scored.
    """
    cursor.execute(_MODELS, {"limit": limit})
    names = [column.name for column in cursor.description or ()]
    found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    cursor.execute(_SCORES)
    keys = ("predictions", "last", "scored", "brier", "brier_shared", "baseline_brier")
    scores = {(name, version): dict(zip(keys, rest, strict=True)) for name, version, *rest in cursor.fetchall()}
    for one in found:
        one["score"] = scores.get((one["name"], one["version"]))
    return found


def predictions(cursor: Cursor, subjects: list[str]) -> list[dict[str, Any]]:
    """Return the last prediction of each model of a subject.

    Args:
        cursor: In a transaction.
        subjects: Names of one subject: the slug, the id and the condition of a market.
    """
    cursor.execute(_OF_SUBJECT, {"subjects": subjects, "limit": PREDICTIONS})
    names = ("model", "version", "decided_at", "probability", "baseline")
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
