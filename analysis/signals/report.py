"""The report of forecasts of a number: Markdown for a person, JSON for programs."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from analysis.evaluation.skill import COVERAGE, Skill
from analysis.signals.scores import Decay
from analysis.signals.walk import Signals


def write_report(found: Signals, folder: Path, decay: Sequence[Decay] = ()) -> Path:
    """Write signals.md and signals.json into a folder, replacing older ones.

    Args:
        found: Result of `walk_forward`.
        folder: Folder to write into.
        decay: Result of `Signals.decay`, when wanted.

    Returns:
        Path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "signals.json").write_text(json.dumps(found.json(), indent=1, allow_nan=False) + "\n")
    page = folder / "signals.md"
    page.write_text(report(found, decay))
    return page


def report(found: Signals, decay: Sequence[Decay] = ()) -> str:
    """Return the report as Markdown."""
    rows = found.rows
    how = "across subjects at each instant" if found.across else "along time, within the rows of each model"
    lines = [
        f"# Walk-forward of {rows.name}: {found.objective}",
        "",
        f"**{found.verdict}.**",
        "",
        f"{len(rows)} forecasts of {len(np.unique(rows.subject))} subjects in {len(np.unique(rows.event))} events, "
        f"{_utc(int(rows.start.min()))} to {_utc(int(rows.end.max()))}. Correlations are {how}; intervals cover "
        f"{COVERAGE:.0%}, by event. Seed {found.seed}.",
        "",
        "| score | value | interval |",
        "| --- | --- | --- |",
        f"| IC (Pearson) | {_value(found.ic)} | {_bounds(found.ic)} |",
        f"| rank IC (Spearman) | {_value(found.rank_ic)} | {_bounds(found.rank_ic)} |",
        f"| size traded a decision, 0 to 2 | {found.turnover:.3f} | |",
        "",
        "## Models",
        "",
        "| first forecast | last forecast | training rows | forecasts | trees | rank IC |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {_utc(one.first_decision_ns)} | {_utc(one.last_decision_ns)} | {one.train_rows} | {one.test_rows} | "
        f"{one.trees} | {_number(one.rank_ic)} |"
        for one in found.retrainings
    ]
    if decay:
        lines += ["", "## Decay over horizons", "", "| horizon | rows | IC | rank IC | interval |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        lines += [
            f"| {timedelta(microseconds=one.horizon_ns // 1000)} | {one.rows} | {_value(one.ic)} | "
            f"{_value(one.rank_ic)} | {_bounds(one.rank_ic)} |"
            for one in decay
        ]
    lines += ["", "## Rank IC lost when correlated features are shuffled together, out of sample", ""]
    lines += ["| features | lost | interval |", "| --- | --- | --- |"]
    lines += [f"| {', '.join(one.features)} | {_value(one.lost)} | {_bounds(one.lost)} |" for one in found.clusters]
    if rows.masked:
        lines += ["", "Left out because of the grade of their certificates:", "", *[f"- {one}" for one in rows.masked]]
    return "\n".join(lines) + "\n"


def _value(found: Skill) -> str:
    return _number(found.value)


def _number(value: float) -> str:
    return f"{value:+.4f}" if np.isfinite(value) else "-"


def _bounds(found: Skill) -> str:
    return f"{found.low:+.4f} to {found.high:+.4f}" if np.isfinite(found.low) else "-"


def _utc(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M} UTC"
