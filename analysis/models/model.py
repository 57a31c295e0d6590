"""A model: trees that correct a baseline as far as they have earned it, and all that is to be known of their making."""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb

import analysis
import recorder
from analysis.arrays import Floats
from analysis.datasets.frame import Dataset
from analysis.errors import ModelError
from analysis.models.accept import Calibration, Verdict
from analysis.models.boost import Params, contributions, corrections, expit, logit


@dataclass(frozen=True)
class Facts:
    """What a model says of itself; it is written to JSON as it stands."""

    name: str
    version: str  # UTC time of its making and the begin of the hash of its trees
    created: str  # ISO 8601, UTC
    dataset: str
    baseline: str  # what is corrected
    features: Mapping[str, str]  # column -> hash of its definition
    params: Params
    rounds: int  # trees in it
    share: float  # of their correction that is used, 0 to 1
    calibration: Calibration
    trees: Verdict
    calibrating: Verdict
    trials: int  # parameter sets that were tried
    seed: int
    embargo_ns: int
    rows: int
    markets: int
    base_rate: float | None  # None where there were no rows
    horizons: tuple[str, ...]
    first_decision_ns: int  # of the training rows
    last_label_ns: int  # of the training rows: what was decided before may not be tested on
    events: tuple[str, ...]  # of the training rows: what belongs to one may not be tested on
    sources: Mapping[str, str]  # data file -> SHA-256
    code: str  # version of the package and hash of the sources of analysis
    packages: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """For `json.dumps`."""
        return asdict(self)

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> "Facts":
        """The way back.

        Raises:
            ModelError: They are not the facts of a model of this version.
        """
        try:
            return cls(
                **{
                    **values,
                    "params": Params(**values["params"]),
                    "calibration": Calibration(**values["calibration"]),
                    "trees": Verdict(**values["trees"]),
                    "calibrating": Verdict(**values["calibrating"]),
                    "horizons": tuple(values["horizons"]),
                    "events": tuple(values["events"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise ModelError(f"model.json is not that of a model this version can read: {error}") from error


@dataclass(frozen=True, eq=False)
class Model:
    """Trees and facts."""

    facts: Facts
    booster: xgb.Booster

    @property
    def names(self) -> list[str]:
        """Its features, in its order."""
        return list(self.facts.features)

    @property
    def is_baseline(self) -> bool:
        """Whether it corrects nothing."""
        return not self.facts.rounds and self.facts.calibration == Calibration()

    def predict(self, rows: Dataset) -> Floats:
        """(n,) probability of 1.

        Raises:
            ModelError: The rows' features are not those it was trained on.
        """
        matrix = self.matrix(rows)
        if self.is_baseline:
            return rows.market.copy()
        return self.probability(logit(rows.market), matrix)

    def probability(self, margin: Floats, features: Floats) -> Floats:
        """(n,) probability of 1.

        Args:
            margin: (n,) log odds of the baseline.
            features: (n, k) in the order of `names`.
        """
        correction = self.facts.share * corrections(self.booster, features, self.names)
        return expit(self.facts.calibration(margin + correction))

    def contributions(self, rows: Dataset) -> Floats:
        """(n, k) log odds that each feature adds to the baseline, before calibration; SHAP values."""
        return self.facts.share * contributions(self.booster, self.matrix(rows), self.names)

    def matrix(self, rows: Dataset) -> Floats:
        """(n, k) its features.

        Raises:
            ModelError: One is missing, or is computed otherwise than when the model was trained.
        """
        check_features(self.facts, rows.definitions)
        return rows.matrix(self.names)


def check_features(facts: Facts, definitions: Mapping[str, str]) -> None:
    """Refuse to feed a model with numbers it was not trained on.

    Raises:
        ModelError: It names the features.
    """
    missing = [name for name in facts.features if name not in definitions]
    changed = [name for name, value in facts.features.items() if definitions.get(name, value) != value]
    if missing or changed:
        told = [f"{', '.join(missing)} not there"] * bool(missing) + [f"{', '.join(changed)} changed"] * bool(changed)
        raise ModelError(
            f"the features of model {facts.name} {facts.version} are not what they were when it was trained "
            f"({'; '.join(told)}): train it again, or use the code {facts.code} that made it"
        )


def facts_of(rows: Dataset) -> dict[str, Any]:
    """What the training rows say of a model."""
    return {
        "dataset": rows.name,
        "baseline": rows.baseline,
        "features": dict(rows.definitions),
        "rows": len(rows),
        "markets": len(np.unique(rows.subject)),
        "base_rate": float(np.average(rows.label, weights=rows.weight)) if len(rows) else None,
        "horizons": tuple(np.unique(rows.horizon).tolist()),
        "first_decision_ns": int(rows.start.min()) if len(rows) else 0,
        "last_label_ns": int(rows.end.max()) if len(rows) else 0,
        "events": tuple(np.unique(rows.event).tolist()),
        "sources": dict(rows.sources),
        "code": code_version(),
        "packages": {"numpy": np.__version__, "xgboost": xgb.__version__, "python": platform.python_version()},
    }


def name_version(booster: xgb.Booster) -> tuple[str, str]:
    """(version, created) of a model made now."""
    now = datetime.now(UTC)
    digest = hashlib.sha256(bytes(booster.save_raw("ubj"))).hexdigest()[:8]
    return f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z-{digest}", now.isoformat(timespec="seconds")


@lru_cache(maxsize=1)
def code_version() -> str:
    """Version of the package, and the begin of a hash over the sources of `analysis`: a changed checkout shows."""
    folder = Path(analysis.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{recorder.__version__}+{digest.hexdigest()[:12]}"
