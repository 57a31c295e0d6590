"""Figures show the numbers they are given, on labelled axes, with legends that cover nothing."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.dates import date2num
from matplotlib.patches import StepPatch
from matplotlib.text import Text
from support.analysis.market_data import T0, random_trades

from analysis.arrays import DAY, HOUR, MINUTE, SECOND, Floats, Gaps, Quotes, Trades
from analysis.bars import on_grid, time_bars
from analysis.datasets.frame import Dataset, once_each, texts
from analysis.evaluation import monitor
from analysis.indicators import Series, indicators
from analysis.load.extent import COUNTS
from analysis.load.tables import GAP
from analysis.microstructure import Agreement, Curve
from analysis.plots import bars as bar_plots
from analysis.plots import features as feature_plots
from analysis.plots import microstructure as micro_plots
from analysis.plots import models as model_plots
from analysis.plots import tape as tape_plots
from analysis.plots.style import Picture, stamps
from analysis.splits import time_ordered


def readable(figure: Picture) -> list[Any]:
    """Return the visible panels, and require that axes are labelled and that legends cover neither data nor titles."""
    assert figure._repr_png_().startswith(b"\x89PNG")
    panels = [axes for axes in figure.axes if axes.get_visible() and axes.axison]
    for axes in panels:
        for axis, shared in (
            ("xaxis", axes.get_shared_x_axes().get_siblings(axes)),
            ("yaxis", axes.get_shared_y_axes().get_siblings(axes)),
        ):
            mine = [getattr(one, axis) for one in shared]
            words = [one.get_label_text() for one in mine]
            words += [label.get_text() for one in mine for label in one.get_ticklabels()]
            ticked = any(len(one.get_ticklocs()) for one in mine)
            assert not ticked or any(any(c.isalpha() for c in word) for word in words), (axis, title(axes))
    own = [axes.get_legend() for axes in panels]
    legends = [*figure.legends, *(legend for legend in own if legend is not None)]
    for legend in legends:
        box = legend.get_window_extent().shrunk(0.98, 0.98)
        for axes in panels:
            names = [
                one for one in axes.get_children() if isinstance(one, Text) and one.get_text() == title(axes) != ""
            ]
            assert not box.overlaps(axes.get_window_extent()), title(axes)
            assert not any(box.overlaps(name.get_window_extent()) for name in names), title(axes)
    return panels


def title(axes: Any) -> str:
    """Return the title of a panel."""
    return str(axes.get_title(loc="left"))


def ys(axes: Any, line: int = 0) -> Floats:
    """Return the values of a line."""
    return np.asarray(axes.lines[line].get_ydata(), np.float64)


def counts(rows: dict[str, list[int]], missing: list[float]) -> pa.Table:
    """Return a table in the form of `extent.counts`, one minute a step."""
    steps = len(missing)
    start = (T0 + np.arange(steps) * MINUTE) // 1000
    tables = [
        pa.table(
            [
                pa.array(start, COUNTS.field("start").type),
                pa.array([name] * steps),
                pa.array(values, pa.int64()),
                pa.array(missing),
            ],
            schema=COUNTS,
        )
        for name, values in rows.items()
    ]
    return pa.concat_tables(tables)


def gap(channel: str, cause: str, start: int, end: int | None) -> dict[str, object]:
    """Return a row of GAP."""
    kind = {"instrument_id": 1, "channel": channel, "cause": cause, "state": "open"}
    return dict.fromkeys(GAP.names) | kind | {"started_at": start // 1000, "ended_at": end and end // 1000}


def test_rows_over_time_shows_each_channel_that_has_rows_and_shades_gaps() -> None:
    figure = tape_plots.rows_over_time(counts({"trade": [3, 0, 5], "quote": [0, 0, 0]}, [0.0, 0.2, 0.0]))
    (panel,) = readable(figure)
    assert panel.get_ylabel() == "trades / 1 min"
    steps, shade = (patch for patch in panel.patches)
    assert isinstance(steps, StepPatch)
    assert list(steps.get_data()[0]) == [3, 0, 5]
    left, right = date2num(stamps(np.array([T0 + MINUTE, T0 + 2 * MINUTE])))
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == pytest.approx((left, right))


def test_rows_over_time_without_rows_explains_the_empty_panel() -> None:
    figure = tape_plots.rows_over_time(counts({"trade": [0]}, [0.0]))
    assert "no rows" in figure.axes[0].texts[0].get_text()


def test_every_missing_range_has_its_lane_and_its_length_even_where_it_is_too_short_to_see() -> None:
    rows = [
        gap("book", "disconnect", T0 + HOUR, T0 + HOUR + 2 * SECOND),
        gap("book", "disconnect", T0 + 3 * HOUR, None),
        gap("quote", "restart", T0 - HOUR, T0 + HOUR),
    ]
    figure = tape_plots.missing(pa.Table.from_pylist(rows, GAP), T0, T0 + 4 * HOUR)
    (panel,) = readable(figure)
    assert [label.get_text() for label in panel.get_yticklabels()] == ["disconnect (book)", "restart (quote)"]
    assert [text.get_text().strip() for text in panel.texts] == ["2 ranges, 3,602.0 s", "1 range, 3,600.0 s"]
    first, last = date2num(stamps(np.array([T0, T0 + 4 * HOUR])))
    for lane in panel.collections:
        for path in lane.get_paths():
            assert path.vertices[:, 0].min() >= first - 1e-9
            assert path.vertices[:, 0].max() <= last + 1e-9
            assert np.ptp(path.vertices[:, 0]) >= (last - first) / 201


def test_delays_tell_the_share_that_had_arrived() -> None:
    event = T0 + np.arange(100) * SECOND
    late = np.full(100, 20_000_000)
    late[:10] = 400_000_000
    kind = pa.timestamp("us", tz="UTC")
    columns = {"ts_event": pa.array(event // 1000, kind), "ts_recv": pa.array((event + late) // 1000, kind)}
    (panel,) = readable(tape_plots.delays(pa.table(columns)))
    assert [text.get_text().strip() for text in panel.texts] == ["50% within 20 ms", "99% within 400 ms"]
    swapped = {"ts_event": columns["ts_recv"], "ts_recv": columns["ts_event"]}
    assert "100% of trades" in tape_plots.delays(pa.table(swapped)).axes[0].texts[0].get_text()


def test_candles_are_filled_where_the_price_fell_and_shaded_where_a_gap_was() -> None:
    trades = random_trades(3000, HOUR, 3)
    gaps = Gaps(np.array([T0 + 10 * MINUTE]), np.array([T0 + 11 * MINUTE]))
    bars = time_bars(trades, 5 * MINUTE, gaps)
    figure = bar_plots.candles(bars, "a title", {"vwap": bars.vwap})
    price, volume = readable(figure)
    rose, fell = (list(container) for container in price.containers)
    assert len(rose) == int((bars.close >= bars.open).sum())
    assert {patch.get_facecolor()[:3] for patch in rose} == {(1.0, 1.0, 1.0)}
    assert all(patch.get_facecolor()[:3] != (1.0, 1.0, 1.0) for patch in fell)
    assert np.array_equal(ys(price), bars.vwap)
    bought, sold = (np.array([patch.get_height() for patch in one]) for one in volume.containers[:2])
    assert np.allclose(bought, bars.buy_volume)
    assert np.allclose(sold, bars.sell_volume)
    shades = [patch for patch in price.patches if patch not in rose and patch not in fell]
    assert len(shades) == int((bars.coverage < 1).sum()) == 1


def test_indicators_are_drawn_where_they_are_known() -> None:
    bars = on_grid(time_bars(random_trades(20_000, 5 * HOUR), MINUTE), T0, T0 + 5 * HOUR, MINUTE, Gaps.empty())
    columns = indicators(Series.of(bars))
    rsi, macd, atr = readable(bar_plots.indicators(bars, columns))
    assert np.array_equal(ys(rsi), columns["rsi_14"], equal_nan=True)
    assert [line.get_label() for line in macd.lines] == ["MACD 12/26", "signal 9"]
    assert np.nanmax(ys(atr)) == pytest.approx(np.nanmax(1e4 * columns["atr_14"] / bars.close))


def test_kinds_of_bars_tell_how_many_and_how_heavy_their_tails_are() -> None:
    bars = time_bars(random_trades(5000, 4 * HOUR), MINUTE)
    _, shape = readable(bar_plots.kinds({"time": bars}))
    assert shape.lines[0].get_label().startswith(f"time: {len(bars)} bars, kurtosis ")
    assert np.all(np.diff(ys(shape)) >= 0)


def quotes() -> Quotes:
    """Return ten quotes, a second apart, with a constant middle of 100."""
    at = T0 + np.arange(10) * SECOND
    size = np.arange(1.0, 11.0)
    return Quotes(at, at, np.full(10, 99.5), size, np.full(10, 100.5), size[::-1].copy())


def test_trades_are_marked_by_their_taker() -> None:
    at = T0 + np.array([1, 2, 3]) * SECOND
    sides = np.array([1, -1, 0], np.int8)
    trades = Trades(at, at, np.arange(3), np.array([100.5, 99.5, 100.0]), np.ones(3), sides)
    top, low = readable(micro_plots.prices(quotes(), trades))
    found = {str(one.get_label()): np.asarray(one.get_offsets())[:, 1].tolist() for one in top.collections}
    assert found == {"bought": [100.5], "sold": [99.5], "side unknown": [100.0]}
    assert ys(low)[0] == pytest.approx((1 - 10) / 11)


def test_the_spread_counts_by_time_and_not_by_rows() -> None:
    at = T0 + np.array([0, 9, 10]) * SECOND
    half = np.array([0.5, 1.0, 1.0])
    seen = Quotes(at, at, 100 - half, half, 100 + half, half)
    wide, fraction = readable(micro_plots.spreads(seen, Gaps.empty()))
    assert ys(wide).tolist() == pytest.approx([100.0, 200.0, 200.0])
    assert ys(fraction)[0] == pytest.approx(0.9)


def test_a_spread_is_not_carried_across_a_gap() -> None:
    at = T0 + np.array([0, 9, 10]) * SECOND
    half = np.array([0.5, 1.0, 1.0])
    gaps = Gaps(T0 + np.array([1]) * SECOND, T0 + np.array([9]) * SECOND)
    wide, fraction = readable(micro_plots.spreads(Quotes(at, at, 100 - half, half, 100 + half, half), gaps))
    np.testing.assert_array_equal(np.isnan(ys(wide)), [False, True, False, False])
    assert ys(fraction)[0] == pytest.approx(0.5)


def test_sides_show_what_is_right_wrong_and_undecided() -> None:
    (panel,) = readable(micro_plots.sides([Agreement("a rule", 10, 8, 6)]))
    assert [patch.get_width() for patch in panel.patches] == pytest.approx([0.6, 0.2, 0.2])
    empty = micro_plots.sides([Agreement("a rule", 0, 0, 0)]).axes[0]
    assert "does not report" in empty.texts[0].get_text()


def test_responses_show_means_with_their_errors() -> None:
    curve = Curve(np.array([1.0, 2.0]), np.array([0.5, -0.5]), np.array([0.1, 0.1]), np.array([7, 9]))
    left, right = readable(micro_plots.responses(curve, 5.0, {"all": curve}))
    assert right.lines[1].get_label() == "all (9)"
    assert ys(left, 1).tolist() == [0.5, -0.5]


def test_known_features_are_dark() -> None:
    times = T0 + np.arange(4) * MINUTE
    values = {"ret_5": np.array([np.nan, 1.0, 2.0, 3.0]), "rv_60": np.full(4, np.nan)}
    first, second = readable(feature_plots.known(values, times))
    (mesh,) = (one for one in first.collections if isinstance(one, QuadMesh))
    assert np.asarray(mesh.get_array()).ravel().tolist() == [0.0, 1.0, 1.0, 1.0]
    assert first.get_yticklabels()[0].get_text().split() == ["ret_5", "75%"]
    assert second.get_yticklabels()[0].get_text().split() == ["rv_60", "0%"]


def test_a_histogram_names_the_unit_of_its_feature() -> None:
    values = {"ret_5": np.random.default_rng(1).normal(size=500)}
    panel, *_ = readable(feature_plots.distributions(values, ["ret_5"]))
    assert panel.get_xlabel() == "bp"
    assert sum(patch.get_height() for patch in panel.patches) == pytest.approx(494, abs=6)


def test_correlation_finds_twins_and_puts_them_side_by_side() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 400))
    values = {"a": a, "b": b, "minus a": -np.exp(a), "constant": np.ones(400), "unknown": np.full(400, np.nan)}
    panel = readable(feature_plots.correlation(values))[0]
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert sorted(names) == ["a", "b", "minus a"]
    assert abs(names.index("a") - names.index("minus a")) == 1
    table = np.asarray(panel.images[0].get_array())
    assert table[names.index("a"), names.index("minus a")] == pytest.approx(-1.0)


def test_responses_of_a_feature_that_decides_rise_from_zero_to_one() -> None:
    values = {"ret_5": np.arange(1000.0)}
    panel = readable(feature_plots.responses(values, (values["ret_5"] >= 500).astype(float), ["ret_5"]))[0]
    assert ys(panel, 1).tolist() == [0.0] * 5 + [1.0] * 5


def dataset(n: int = 200) -> tuple[Dataset, Floats]:
    """Return two horizons with one row an hour, and the true probability of each label."""
    rng = np.random.default_rng(4)
    p = rng.uniform(0.05, 0.95, n)
    start = T0 + np.arange(n) * HOUR
    label = (rng.uniform(size=n) < p).astype(float)
    subject = np.array([f"m{i}" for i in range(n)])
    rows = Dataset(
        name="made",
        baseline="market price",
        features={"x": rng.normal(size=n) + np.arange(n) / 50},
        definitions={"x": "0"},
        sources={},
        label=label,
        market=np.clip(p + rng.normal(0, 0.05, n), 0.01, 0.99),
        start=start,
        end=start + DAY,
        event=subject,
        subject=subject,
        horizon=np.where(np.arange(n) % 2, "1h", "4h"),
        tier=texts(n, "t"),
        category=texts(n, "c"),
        weight=once_each(subject),
    )
    return rows, p


def test_the_split_shows_every_row_in_its_part() -> None:
    rows, _ = dataset()
    found = time_ordered(rows.spans, 0.3)
    overview, near = readable(model_plots.split(rows, found))
    drawn = {str(one.get_label()).split()[0]: len(np.asarray(one.get_offsets())) for one in overview.collections}
    purged = len(rows) - len(found.train) - len(found.test)
    assert drawn == {"train": len(found.train), "purged": purged, "test": len(found.test)}
    assert purged > 0
    assert title(near) == "Around the cut"


def test_prices_are_separated_by_outcome() -> None:
    rows, _ = dataset()
    (panel,) = readable(model_plots.prices_by_outcome(rows))
    assert [label.get_text() for label in panel.get_xticklabels()] == ["4h", "1h"]
    words = [text.get_text() for text in panel.get_legend().get_texts()]
    assert words == [f"came true ({int(rows.label.sum())} rows)", f"did not ({int((1 - rows.label).sum())} rows)"]


def test_drift_writes_each_index_into_its_cell() -> None:
    rows, _ = dataset()
    found = monitor.drift(rows.take(slice(0, 100)), rows.take(slice(100, None)), monitor.weeks(rows.start[100:]))
    panel = readable(model_plots.drift(found))[0]
    assert [text.get_text() for text in panel.texts] == [f"{value:.2f}" for value in found.index.ravel()]


def test_calibration_over_time_shows_forecast_outcome_and_both_losses() -> None:
    rows, p = dataset()
    periods = monitor.over_time(rows, p, monitor.weeks(rows.start))
    top, low = readable(model_plots.over_time(periods, "the truth", rows.baseline))
    assert ys(top, 1).tolist() == [one.outcome for one in periods]
    assert [line.get_label() for line in low.lines] == ["the truth", "market price"]


def test_forecasts_sum_up_the_log_loss_saved() -> None:
    rows, p = dataset()
    left, right = readable(model_plots.forecasts(rows, p))
    total = float(ys(right, 1)[-1])
    whole = monitor.over_time(rows, p, texts(len(rows), "all"))[0]
    assert total == pytest.approx(whole.skill.value * len(rows))
    assert left.get_xlabel() == "market price"


def test_a_picture_does_not_depend_on_the_settings_of_its_reader() -> None:
    mine = bar_plots.kinds({"time": time_bars(random_trades(500, HOUR), MINUTE)})._repr_png_()
    with mpl.rc_context({"font.size": 30.0, "axes.grid": False, "savefig.dpi": 20}):
        assert bar_plots.kinds({"time": time_bars(random_trades(500, HOUR), MINUTE)})._repr_png_() == mine


def test_a_long_legend_raises_the_title_that_it_would_cover() -> None:
    curve = Curve(np.array([1.0, 2.0]), np.array([0.5, -0.5]), np.array([0.1, 0.1]), np.array([7, 9]))
    names = {"small trades of this instrument": curve, "large trades of this instrument": curve}
    left, right = readable(micro_plots.responses(curve, 5.0, names))
    assert (title(left), title(right)) == ("After an imbalance, 5 s later", "After a trade")


def test_panels_without_data_say_why() -> None:
    nothing = Curve(np.ones(2), np.full(2, np.nan), np.full(2, np.nan), np.array([0, 1]))
    left, right = readable(micro_plots.responses(nothing, 5.0, {"all": nothing}))
    assert "5 s later" in left.texts[0].get_text()
    assert "fewer than two trades" in right.texts[0].get_text()
    assert "no quote" in readable(micro_plots.spreads(Quotes.empty(), Gaps.empty()))[0].texts[0].get_text()
