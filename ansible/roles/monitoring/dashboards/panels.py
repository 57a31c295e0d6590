"""Panels of one look: what a person reads first has figures, what explains it has lines."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import bargauge, prometheus, stat, statetimeline, table, text, timeseries
from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, RED, GREY = "green", "yellow", "red", "#8e8e8e"

Panel = Any  # a builder of the SDK, which has no common type for them
Word = tuple[str, str]  # what is shown in place of a number, and its colour


class Query(NamedTuple):
    """One query; the legend may name labels, such as {{venue}}."""

    expr: str
    legend: str = ""


class Limits(NamedTuple):
    """Where a figure becomes yellow and red. It falls towards worse when red is below yellow; equal: never yellow."""

    yellow: float
    red: float


def figure(
    title: str,
    about: str,
    queries: Sequence[Query],
    *,
    unit: str,
    limits: Limits | None = None,
    words: Mapping[int, Word] | None = None,
    empty: str = "no data",
    span: int = 4,
) -> Panel:
    """Return one or a few large figures.

    Args:
        title: Of the panel.
        about: What it shows and what a bad value means.
        queries: Each gives one figure, or one for each series.
        unit: Of Grafana.
        limits: Colours of the figures.
        words: In place of numbers.
        empty: What is shown where there is no value.
        span: Width, of 24.
    """
    panel = (
        stat.Panel()
        .reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.BACKGROUND if limits or words else common.BigValueColorMode.NONE)
        .text_mode(common.BigValueTextMode.AUTO)
        .no_value(empty)
    )
    return _common(panel, title, about, queries, unit=unit, limits=limits, words=words, span=span, height=4, now=True)


def bars(
    title: str, about: str, queries: Sequence[Query], *, unit: str, limits: Limits, most: float, span: int = 12
) -> Panel:
    """Return one bar a series, of the present value.

    Args:
        title: Of the panel.
        about: What it shows and what a bad value means.
        queries: They sort what they give, the worst first.
        unit: Of Grafana.
        limits: Colours.
        most: Where a bar is full.
        span: Width, of 24.
    """
    panel = (
        bargauge.Panel()
        .reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .min(0)
        .max(most)
    )
    return _common(panel, title, about, queries, unit=unit, limits=limits, span=span, height=8, now=True)


def lines(
    title: str,
    about: str,
    queries: Sequence[Query],
    *,
    unit: str,
    limits: Limits | None = None,
    stacked: bool = False,
    most: float | None = None,
    span: int = 12,
) -> Panel:
    """Return lines over time.

    Args:
        title: Of the panel.
        about: What it shows and what a bad value means.
        queries: Each gives one line, or one for each series.
        unit: Of Grafana.
        limits: Dashed lines at these values.
        stacked: Whether the values are parts of a sum.
        most: The top of the axis, where it is known.
        span: Width, of 24.
    """
    panel = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(30 if stacked else 0)
        .show_points(common.VisibilityMode.NEVER)
        .min(0)
        .legend(
            build.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
            .sort_by("Max")
            .sort_desc(True)
        )
        .tooltip(build.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    )
    if most is not None:
        panel.max(most)
    if stacked:
        panel.stacking(build.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if limits is not None:
        panel.thresholds_style(build.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.DASHED))
    return _common(panel, title, about, queries, unit=unit, limits=limits, span=span, height=8)


def states(title: str, about: str, queries: Sequence[Query], words: Mapping[int, Word], *, span: int = 12) -> Panel:
    """Return a band of states over time for each series.

    Args:
        title: Of the panel.
        about: What it shows and what a bad value means.
        queries: Each gives a whole number for each series.
        words: What the numbers mean.
        span: Width, of 24.
    """
    panel = (
        statetimeline.Panel()
        .merge_values(True)
        .show_value(common.VisibilityMode.NEVER)
        .row_height(0.85)
        .fill_opacity(70)
        .line_width(0)
        .legend(
            build.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    return _common(panel, title, about, queries, unit="none", words=words, span=span, height=8)


def rows(title: str, about: str, query: Query, columns: Mapping[str, str], *, empty: str, span: int = 12) -> Panel:
    """Return a table with a row for each series of now.

    Args:
        title: Of the panel.
        about: What it shows and what a row means.
        query: Gives the series.
        columns: The labels that are shown, in order, and their headings.
        empty: What is shown without a row.
        span: Width, of 24.
    """
    order = {label: place for place, label in enumerate(columns)}
    hidden = ("Time", "Value", "__name__", "instance", "job")
    panel = (
        table.Panel()
        .show_header(True)
        .no_value(empty)
        .with_transformation(
            model.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": dict.fromkeys(hidden, True),
                    "indexByName": order,
                    "renameByName": dict(columns),
                },
            )
        )
    )
    _common(panel, title, about, [], unit="none", span=span, height=8)
    return panel.with_target(_target(query, 0, now=True).format(PromQueryFormat.TABLE))


def note(title: str, words: str) -> Panel:
    """Return a panel of words as wide as the dashboard."""
    return text.Panel().title(title).mode(TextMode.MARKDOWN).content(words).description(words).span(24).height(3)


def _common(
    panel: Panel,
    title: str,
    about: str,
    queries: Sequence[Query],
    *,
    unit: str,
    span: int,
    height: int,
    limits: Limits | None = None,
    words: Mapping[int, Word] | None = None,
    now: bool = False,
) -> Panel:
    """Give a panel what all of them have."""
    panel.title(title).description(about).datasource(SOURCE).span(span).height(height).unit(unit)
    panel.thresholds(grafana.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(_steps(limits)))
    if limits is not None or words is not None:
        panel.color_scheme(grafana.FieldColor().mode(_colours(panel)))
    if words is not None:
        options = {
            str(value): model.ValueMappingResult(text=word, color=colour, index=place)
            for place, (value, (word, colour)) in enumerate(words.items())
        }
        panel.mappings([model.ValueMap(options=options)])
    for place, query in enumerate(queries):
        panel.with_target(_target(query, place, now=now))
    return panel


def _colours(panel: Panel) -> model.FieldColorModeId:
    """Return how series get their colour: lines keep one each, figures show whether they are well."""
    lined = isinstance(panel, timeseries.Panel)
    return model.FieldColorModeId.PALETTE_CLASSIC if lined else model.FieldColorModeId.THRESHOLDS


def _steps(limits: Limits | None) -> list[model.Threshold]:
    if limits is None:
        return [model.Threshold(color=GREEN, value=None)]
    if limits.red == limits.yellow:
        steps = [(GREEN, None), (RED, limits.red)]
    elif limits.red > limits.yellow:
        steps = [(GREEN, None), (YELLOW, limits.yellow), (RED, limits.red)]
    else:
        steps = [(RED, None), (YELLOW, limits.red), (GREEN, limits.yellow)]
    return [model.Threshold(color=colour, value=value) for colour, value in steps]


def _target(query: Query, place: int, *, now: bool) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend or "__auto").ref_id("ABCDEF"[place])
    return target.instant() if now else target.range()
