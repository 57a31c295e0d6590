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
# # 04 · Looking at features
#
# A feature is a number that was known at a decision time. Before any model sees it, three questions are worth a look:
# when is it known at all, how is it spread, and what does it share with the others? The first part reads a tape
# (`TAPEDECK_TAPE`, the appliance's database or the sample data), the second the five crypto pairs of the sample data
# (`TAPEDECK_DATA`). `TAPEDECK_QUICK=1` takes less.

# %%
from datetime import timedelta

import numpy as np

from analysis import datasets, features, load, notebook
from analysis.arrays import MINUTE
from analysis.load.holes import nanoseconds
from analysis.plots import features as plots

tape = notebook.tape(hours=notebook.sized(24, 6))
print(tape)

# %% [markdown]
# ## Known, or not
#
# `features.compute` gives all 65 columns at the times asked for, from what had been *received* by then. Unknown is
# null, never zero: a volatility of zero would say that nothing moved. Columns are null for three reasons: the tape
# has no such stream (no quotes, no book), the window reaches back further than the recording, or too much of the
# window lies in a hole.

# %%
held = load.tape(*tape.where, warmup=timedelta(days=notebook.sized(21, 1)))
times = np.arange(nanoseconds(tape.start), nanoseconds(tape.end), notebook.sized(5, 10) * MINUTE)
values = features.compute(held, times)
plots.known(values, times)

# %% [markdown]
# ## One feature, as its definition says it
#
# Every feature carries its formula, its unit and when it is null. A model stores a hash of all the code behind each
# of its features, and refuses to run on another definition.

# %%
one = features.BARS["parkinson_60"]
print(f"{one.name} [{one.unit}]\n  {one.formula}\n  null: {one.null_when}\n  source: {one.source}")

# %% [markdown]
# ## Twenty days of five pairs
#
# Candles give the features that need no trades. `crypto_5m` holds five pairs in five-minute candles; a row is decided
# every quarter of an hour, and its label says whether the price stands higher an hour later.

# %%
rows = datasets.load("crypto_5m", notebook.sample_data("market_history"))
table = dict(rows.features)
chosen = ["ret_5", "ret_60", "drawdown_240", "range_pos_60", "rv_60", "vol_ratio", "kurt_240", "acf1_60"]
more = ["rsi_14", "bb_pos", "adx_14", "vol_ratio_20"]
plots.distributions(table, [*chosen, *more])

# %% [markdown]
# ## What goes together
#
# Thirty columns are not thirty facts. Blocks along the diagonal say the same thing in different words: returns over
# neighbouring horizons, volatilities by different estimators. A model can live with that; a reader of its importances
# has to know it.

# %%
plots.correlation(table)

# %% [markdown]
# ## What they say of the next hour
#
# The share of rises by rank of the feature. The grey line is the share of all rows; bars are two standard errors *as
# if rows were independent*. They are not: the five pairs move together, and neighbouring rows share most of their
# hour. Real uncertainty is several times larger, so what barely leaves the line here is nothing. 06 puts that to the
# test.

# %%
plots.responses(table, rows.label, ["ret_5", "ret_60", "rsi_14", "bb_pos", "rv_60", "vol_ratio_20"])
