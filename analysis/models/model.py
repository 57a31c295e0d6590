"""A model: trees that correct a baseline, with the metadata needed to reproduce it."""

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
from analysis.models.acceptance import AcceptanceResult, Calibration
from analysis.models.base_rate import with_base_rates
from analysis.models.boost import Params, contributions, corrections, expit, logit


@dataclass(frozen=True)
class ModelMetadata:
    """Metadata of a model, stored as JSON."""

    name: str
    version: str  # UTC time of training and the first digits of the hash of the trees
    created: str  # ISO 8601, UTC
    dataset: str
    baseline: str  # the forecast that is corrected
    features: Mapping[str, str]  # column -> hash of its definition
    params: Params
    rounds: int  # number of trees
    shrinkage: float  # factor of the trees' correction, 0 to 1
    calibration: Calibration
    trees_test: AcceptanceResult
    calibration_test: AcceptanceResult
    n_trials: int  # parameter sets of the trees that were tried
    seed: int
    embargo_ns: int
    scheme: str  # cross-validation of the training rows
    base_rates: Mapping[str, float]  # subject -> base rate of its training rows; empty with a public forecast
    rows: int
    markets: int
    base_rate: float | None  # None without rows
    horizons: tuple[str, ...]
    first_decision_ns: int  # of the training rows
    last_label_ns: int  # of the training rows; rows decided earlier must not be tested
    events: tuple[str, ...]  # of the training rows; their rows must not be tested
    sources: Mapping[str, str]  # data file -> SHA-256
    code: str  # version of the package and hash of the sources of analysis
    packages: Mapping[str, str] = field(default_factory=dict)
    masked: tuple[str, ...] = ()  # ranges of the recording that were left out because of their grade

    @property
    def is_baseline(self) -> bool:
        """Return whether the model corrects nothing."""
        return not self.rounds and self.calibration == Calibration()

    @property
    def decision(self) -> str:
        """Return in words what was tested on the training rows, and the outcome."""
        return f"recalibration {self.calibration_test.outcome}; trees {self.trees_test.outcome}"

    def json(self) -> dict[str, Any]:
        """Return the metadata for `json.dumps`."""
        return asdict(self)

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> "ModelMetadata":
        """Return metadata from its JSON form.

        Raises:
            ModelError: The values are not those of a model of this version.
        """
        try:
            return cls(
                **{
                    **values,
                    "params": Params(**values["params"]),
                    "calibration": Calibration(**values["calibration"]),
                    "trees_test": AcceptanceResult(**values["trees_test"]),
                    "calibration_test": AcceptanceResult(**values["calibration_test"]),
                    "horizons": tuple(values["horizons"]),
                    "events": tuple(values["events"]),
                    "masked": tuple(values.get("masked", ())),
                }
            )
        except (KeyError, TypeError) as error:
            raise ModelError(f"this version cannot read model.json: {error}") from error


@dataclass(frozen=True, eq=False)
class Model:
    """Trees and their metadata."""

    metadata: ModelMetadata
    booster: xgb.Booster

    @property
    def names(self) -> list[str]:
        """Return the features in the order of the trees."""
        return list(self.metadata.features)

    @property
    def is_baseline(self) -> bool:
        """Return whether the model corrects nothing."""
        return self.metadata.is_baseline

    def with_baseline(self, rows: Dataset) -> Dataset:
        """Return the rows with the baseline of this model: the base rate of its training rows, or the rows' own."""
        return with_base_rates(rows, self.metadata.base_rates)

    def predict(self, rows: Dataset) -> Floats:
        """Return (n,) the probability of 1.

        Raises:
            ModelError: The features of the rows differ from those of the training.
        """
        matrix = self.matrix(rows)
        market = self.with_baseline(rows).market
        return market.copy() if self.is_baseline else self.probability(logit(market), matrix)

    def probability(self, margin: Floats, features: Floats) -> Floats:
        """Return (n,) the probability of 1.

        Args:
            margin: (n,) log odds of the baseline.
            features: (n, k) in the order of `names`.
        """
        correction = self.metadata.shrinkage * corrections(self.booster, features, self.names)
        return expit(self.metadata.calibration(margin) + correction)

    def contributions(self, rows: Dataset) -> Floats:
        """Return (n, k) the log odds that each feature adds to the recalibrated baseline, as SHAP values."""
        return self.metadata.shrinkage * contributions(self.booster, self.matrix(rows), self.names)

    def matrix(self, rows: Dataset) -> Floats:
        """Return (n, k) the features of the model.

        Raises:
            ModelError: A feature is missing, or its definition changed after the training.
        """
        check_features(self.metadata, rows.definitions)
        return rows.matrix(self.names)


def check_features(metadata: ModelMetadata, definitions: Mapping[str, str]) -> None:
    """Refuse features that differ from those of the training.

    Raises:
        ModelError: A feature is missing or changed; the message names it.
    """
    missing = [name for name in metadata.features if name not in definitions]
    changed = [name for name, value in metadata.features.items() if definitions.get(name, value) != value]
    if missing or changed:
        faults = [f"{', '.join(missing)} missing"] * bool(missing) + [f"{', '.join(changed)} changed"] * bool(changed)
        raise ModelError(
            f"the features of model {metadata.name} {metadata.version} differ from those of its training "
            f"({'; '.join(faults)}): train it again, or use the code {metadata.code} that trained it"
        )


def dataset_metadata(rows: Dataset) -> dict[str, Any]:
    """Return the metadata that follows from the training rows."""
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
        "masked": rows.masked,
        "code": code_version(),
        "packages": {"numpy": np.__version__, "xgboost": xgb.__version__, "python": platform.python_version()},
    }


def name_version(booster: xgb.Booster) -> tuple[str, str]:
    """Return (version, created) of a model trained now."""
    now = datetime.now(UTC)
    digest = hashlib.sha256(bytes(booster.save_raw("ubj"))).hexdigest()[:8]
    return f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z-{digest}", now.isoformat(timespec="seconds")


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return the version of the package and the start of a hash over `analysis`, so a changed checkout shows."""
    folder = Path(analysis.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{recorder.__version__}+{digest.hexdigest()[:12]}"
