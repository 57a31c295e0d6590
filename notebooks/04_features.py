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
# # 04 · Inspecting features
#
# A feature is a number that was known at a decision time. Before a model uses it, check three things: when it is
# known, how it is distributed, and how it relates to the other features. The first part reads a recording
# (`TAPEDECK_TAPE`, the appliance's database or the sample data), the second part the five crypto pairs of the sample
# data (`TAPEDECK_DATA`). `TAPEDECK_QUICK=1` uses less data.

# %%
from datetime import timedelta

import numpy as np

from analysis import datasets, features, load, notebook
from analysis.arrays import MINUTE
from analysis.plots import features as plots

tape = notebook.tape(hours=notebook.sized(24, 6))
print(tape)

# %% [markdown]
# ## Availability
#
# `features.compute` returns all 65 columns at the requested times, from rows that had been *received* by then. An
# unknown value is null, never zero: a volatility of zero would mean that nothing moved. A column is null for one of
# three reasons: the recording has no such stream (no quotes, no book), the window begins before the recording, or too
# much of the window lies in a gap.

# %%
recorded = load.tape(*tape.where, source=tape.source, warmup=timedelta(days=notebook.sized(21, 1)))
times = np.arange(tape.start_ns, tape.end_ns, notebook.sized(5, 10) * MINUTE)
values = features.compute(recorded, times)
plots.known(values, times)

# %% [markdown]
# ## The definition of a feature
#
# Every feature documents its formula, its unit and when it is null. A model stores a hash of the code behind each of
# its features, and refuses to run on another definition.

# %%
one = features.BARS["parkinson_60"]
print(f"{one.name} [{one.unit}]\n  {one.formula}\n  null: {one.null_when}\n  source: {one.source}")

# %% [markdown]
# ## Twenty days of five pairs
#
# Candles suffice for the features that need no trades. `crypto_5m` holds five pairs in five-minute candles. A row is
# decided every 15 minutes, and its label states whether the price is higher an hour later.

# %%
rows = datasets.load("crypto_5m", notebook.sample_data("market_history"))
table = dict(rows.features)
chosen = ["ret_5", "ret_60", "drawdown_240", "range_pos_60", "rv_60", "vol_ratio", "kurt_240", "acf1_60"]
more = ["rsi_14", "bb_pos", "adx_14", "vol_ratio_20"]
plots.distributions(table, [*chosen, *more])

# %% [markdown]
# ## Correlation
#
# Thirty columns are not thirty independent facts. Blocks along the diagonal measure the same thing in different ways:
# returns over similar horizons, or volatilities by different estimators. A model tolerates this, but it matters when
# its feature importances are read.

# %%
plots.correlation(table)

# %% [markdown]
# ## Relation to the next hour
#
# The figure shows the fraction of rises by rank of the feature. The grey line is the fraction over all rows, and bars
# are two standard errors *as if rows were independent*. They are not: the five pairs move together, and neighbouring
# rows share most of their hour. The true uncertainty is several times larger, so small deviations from the line mean
# nothing. Notebook 06 tests this.

# %%
plots.responses(table, rows.label, ["ret_5", "ret_60", "rsi_14", "bb_pos", "rv_60", "vol_ratio_20"])
