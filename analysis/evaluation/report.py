"""Documents about a model: an HTML page with figures, a model card, a data sheet, and JSON for programs."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import numpy as np

from analysis.datasets.frame import NOTES, UNUSABLE, Dataset
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.figures import figures
from analysis.evaluation.scores import brier, log_loss
from analysis.evaluation.skill import COVERAGE, METHOD, RESAMPLES, Skill
from analysis.models.acceptance import Calibration
from analysis.models.model import ModelMetadata


def write_report(found: Evaluation, folder: Path) -> Path:
    """Write report.html, evaluation.json and card.md into a folder, replacing older ones.

    Returns:
        Path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(found.json(), indent=1, allow_nan=False) + "\n")
    (folder / "card.md").write_text(model_card(found.metadata, found))
    page = folder / "report.html"
    page.write_text(report_page(found))
    return page


def report_page(found: Evaluation) -> str:
    """Return the page, which needs no other file."""
    return _template("report.html.j2").render(
        metadata=found.metadata,
        calibrated=found.metadata.calibration != Calibration(),
        note=NOTES.get(found.metadata.dataset),
        alarms=found.alarms,
        looks=found.looks,
        method=METHOD,
        verdict=found.verdict,
        all_rows=found.all_rows,
        by_horizon=found.by_horizon,
        by_tier=found.by_tier,
        by_category=found.by_category,
        importance=found.importance,
        clusters=found.clusters,
        used=any(one.shap > 0 for one in found.importance),
        folds=found.folds,
        betting=found.betting,
        overlapping=found.overlapping,
        left_out=found.left_out,
        first=_utc(found.first_decision_ns),
        last=_utc(found.last_label_ns),
        figures=figures(found),
        coverage=COVERAGE,
        resamples=RESAMPLES,
        seed=found.seed,
    )


def model_card(metadata: ModelMetadata, found: Evaluation | None = None) -> str:
    """Return a description of a model in Markdown, with scores when an evaluation is given."""
    calibrated = metadata.calibration != Calibration()
    return _template("card.md.j2").render(
        metadata=metadata,
        found=found,
        calibrated=calibrated,
        params=asdict(metadata.params),
        note=NOTES.get(metadata.dataset),
    )


def data_sheet(rows: Dataset) -> str:
    """Return a description of a training frame in Markdown."""
    horizons = []
    for name in dict.fromkeys(rows.horizon.tolist()):
        part = rows.take(rows.horizon == name)
        horizons.append(
            {
                "name": name,
                "rows": len(part),
                "base_rate": float(part.label.mean()),
                "brier": float(brier(part.label, part.market).mean()),
                "log_loss": float(log_loss(part.label, part.market).mean()),
            }
        )
    columns = []
    for name, values in rows.features.items():
        known = values[~np.isnan(values)]
        ends = (known.min(), np.median(known), known.max()) if len(known) else (np.nan,) * 3
        columns.append(
            {"name": name, "unknown": float(np.isnan(values).mean())}
            | dict(zip(("min", "median", "max"), map(float, ends), strict=True))
        )
    return _template("datasheet.md.j2").render(
        name=rows.name,
        baseline=rows.baseline,
        rows=len(rows),
        markets=len(np.unique(rows.subject)),
        events=len(np.unique(rows.event)),
        base_rate=float(np.average(rows.label, weights=rows.weight)),
        first=int(rows.start.min()),
        last_decision=int(rows.start.max()),
        last=int(rows.end.max()),
        sources=rows.sources,
        masked=rows.masked,
        horizons=horizons,
        features=columns,
        scheme=rows.scheme,
        note=NOTES.get(rows.name),
        refused=UNUSABLE.get(rows.name, {}),
    )


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.evaluation"),
        autoescape=jinja2.select_autoescape(("html.j2",)),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"n": _number, "signed": _signed, "bounds": _bounds, "utc": _utc}
    return environment.get_template(name)


def _number(value: float | None, digits: int) -> str:
    return f"{value:.{digits}f}" if value is not None and np.isfinite(value) else "-"


def _signed(found: Skill) -> str:
    return f"{found.value:+.4f}"


def _bounds(found: Skill) -> str:
    if found.same:
        return "no difference"
    return f"{found.low:+.4f} to {found.high:+.4f}" if np.isfinite(found.low) else "too few events"


def _utc(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M} UTC"
