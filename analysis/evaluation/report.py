"""What a person reads of a model: a page with figures, a model card and a data sheet; and a JSON for programs."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import numpy as np

from analysis.datasets.frame import UNUSABLE, Dataset
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.figures import figures
from analysis.evaluation.scores import brier, log_loss
from analysis.evaluation.skill import COVERAGE, RESAMPLES, Skill
from analysis.models.accept import Calibration
from analysis.models.model import Facts


def write_report(found: Evaluation, folder: Path) -> Path:
    """Write report.html, evaluation.json and the model card anew into a folder.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(found.json(), indent=1, allow_nan=False) + "\n")
    (folder / "card.md").write_text(model_card(found.facts, found))
    page = folder / "report.html"
    page.write_text(report_page(found))
    return page


def report_page(found: Evaluation) -> str:
    """A page that needs nothing but itself."""
    return _template("report.html.j2").render(
        facts=found.facts,
        calibrated=found.facts.calibration != Calibration(),
        verdict=found.verdict,
        whole=found.whole,
        by_horizon=found.by_horizon,
        by_tier=found.by_tier,
        by_category=found.by_category,
        importance=found.importance,
        money=found.money,
        overlapping=found.overlapping,
        left_out=found.left_out,
        first=_utc(found.first_decision_ns),
        last=_utc(found.last_label_ns),
        figures=figures(found),
        coverage=COVERAGE,
        resamples=RESAMPLES,
        seed=found.seed,
    )


def model_card(facts: Facts, found: Evaluation | None = None) -> str:
    """What a model is, in Markdown; with an evaluation also how good."""
    calibrated = facts.calibration != Calibration()
    return _template("card.md.j2").render(facts=facts, found=found, calibrated=calibrated, params=asdict(facts.params))


def data_sheet(rows: Dataset) -> str:
    """What a training frame holds, in Markdown."""
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
            | dict(zip(("least", "median", "most"), map(float, ends), strict=True))
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
        horizons=horizons,
        features=columns,
        refused=UNUSABLE.get(rows.name, {}),
    )


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.evaluation"),
        autoescape=jinja2.select_autoescape(("html.j2",)),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"n": _number, "interval": _interval, "utc": _utc}
    return environment.get_template(name)


def _number(value: float | None, digits: int) -> str:
    return f"{value:.{digits}f}" if value is not None and np.isfinite(value) else "-"


def _interval(found: Skill) -> str:
    if not np.isfinite(found.low):
        return f"{found.value:+.4f} (too few events)"
    return f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def _utc(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M} UTC"
