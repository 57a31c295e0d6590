# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · From the tape to a judged model
#
# One path: load what was recorded, make bars, compute what was known at each decision, label what followed, train again
# and again on the past, and judge all forecasts together. It reads a recording (`TAPEDECK_TAPE`, the appliance's
# database or the sample data). `TAPEDECK_QUICK=1` uses less data.

# %%
from datetime import timedelta
from pathlib import Path

from analysis import features, labels, load, notebook, signals
from analysis.datasets import Dataset
from analysis.evaluation import walk_forward, write_report
from analysis.plots import models as plots

excerpt = notebook.tape(hours=notebook.sized(24, 6))
print(excerpt)

# %% [markdown]
# ## Ten lines
#
# A gap makes a feature or a label null and does nothing else. `min_grade="consistent"` would also leave out each hour
# whose certificate says less; a recording of this hour has no certificates yet. Decisions are made two seconds after
# the end of a minute, and a position is entered five seconds later. Labels overlap, so each counts as much as it is
# alone (`uniqueness`). Events are blocks of 15 minutes here, because the excerpt is short; with weeks, take days.

# %%
tape = load.tape(*excerpt.where, source=excerpt.source, warmup=timedelta(hours=2), min_grade=None)
bars = load.bars(*excerpt.where, source=excerpt.source, on_gap="mask", to="pandas", progress=False)
times = bars["end"] + timedelta(seconds=2)
chosen = ["ret_5", "ret_15", "rv_15", "range_pos_60", "rsi_14", "tfi_5"]
table = features.of_bars(bars, times, chosen, gaps=tape.gaps, to="pandas")
answers = labels.direction(labels.Path.of_tape(tape), times, timedelta(minutes=5), timedelta(seconds=5))
known, events, weight = answers.known(), times.dt.floor("15min"), labels.uniqueness(answers)
given = {"event": events[known], "subject": excerpt.symbol, "weight": weight[known], "masked": tape.masked}
rows = Dataset.of(table[known], answers.take(known), market=None, **given)
found = walk_forward(rows, folds=3, seed=1)
print(found.verdict, write_report(found.evaluation, Path("report")), sep="\n")

# %% [markdown]
# ## What was judged
#
# Each forecast is of a minute after everything its model had seen. The report says of each model what was tested on its
# training rows. A few hours rarely show skill, and the verdict says so.

# %%
found.frame().tail()

# %%
plots.evaluation(found.evaluation)

# %% [markdown]
# ## A number instead of a direction
#
# `signals` forecasts the log return itself and judges its order: the rank IC with an interval by event, how fast it
# decays over longer horizons, and how much would be traded. Correlated features are shuffled together, out of sample.

# %%
price = labels.Path.of_tape(tape)
returns = labels.forward_return(price, times, timedelta(minutes=5), timedelta(seconds=5))
known = returns.known()
targets = signals.Targets.of(table[known], returns.take(known), event=events[known], subject=excerpt.symbol)
forecasts = signals.walk_forward(targets, folds=3, seed=1)
horizons = [timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15)]
decay = forecasts.decay(price, horizons, timedelta(seconds=5))
print(signals.write_report(forecasts, Path("report"), decay).read_text())

# %% [markdown]
# ## Which barrier is touched first
#
# The triple barrier ends a position at a gain or a loss of 10 basis points, or after 15 minutes. Its labels end at the
# touch, so their spans differ, and the splits use those spans.

# %%
barrier = labels.triple_barrier(price, times, timedelta(minutes=15), timedelta(seconds=5), 10.0, 10.0)
barrier.frame().describe()
