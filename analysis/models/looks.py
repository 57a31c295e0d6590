"""A ledger of looks at held-out events: which version of a model was evaluated on which events.

Each look at the same events makes the best of the looks less of a proof. The ledger lies in the folder of all models.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from analysis.datasets.frame import Dataset
from analysis.models.model import ModelMetadata

LEDGER = "looks.jsonl"


def record_look(models: Path, metadata: ModelMetadata, rows: Dataset) -> int:
    """Append a look, and return how many other versions were evaluated on some of the same events before.

    Args:
        models: Folder of all models.
        metadata: The model that is evaluated.
        rows: The rows it is evaluated on.

    Raises:
        OSError: The ledger cannot be read or written.
    """
    events = [_short(name) for name in np.unique(rows.event).tolist()]
    path, mine = models / LEDGER, f"{metadata.name} {metadata.version}"
    others = {
        look["model"]
        for look in _read(path)
        if look["dataset"] == rows.name and look["model"] != mine and not set(look["events"]).isdisjoint(events)
    }
    look = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": mine,
        "dataset": rows.name,
        "rows": len(rows),
        "events": events,
    }
    models.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(look) + "\n")
    return len(others)


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open() as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def _short(event: str) -> str:
    """Return the first digits of the hash of an event's name, so that a line stays short."""
    return hashlib.sha256(event.encode()).hexdigest()[:10]
