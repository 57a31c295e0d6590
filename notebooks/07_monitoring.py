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
# # 07 · Watching a model
#
# A model is trained once and then meets a world that goes on. This notebook trains on the first half of the Bitcoin
# range markets of the sample data (`TAPEDECK_DATA`), scores the rest as if they arrived week by week, and asks three
# questions: have its inputs moved, do its forecasts still come true, does it still beat the price? In the appliance
# the forecasts come from `tapedeck-analysis score`, which keeps each in the table `prediction`, once and for good.
# `TAPEDECK_QUICK=1` looks at one horizon alone.

# %%
from analysis import datasets, notebook, splits
from analysis.evaluation import monitor
from analysis.models import train
from analysis.models.score import score
from analysis.plots import models as plots

rows = datasets.load("btc_range", notebook.sample_data("resolved_markets"), notebook.sized(None, "4h"))
found = splits.time_ordered(rows.spans, 0.5)
model = train(rows, found, seed=1).model
later = rows.take(found.test)
week = monitor.weeks(later.start)

# %% [markdown]
# ## Scoring
#
# What the model said, in the columns of `prediction`. Where no correction has earned its place, the model *is* the
# market price.

# %%
score(model, later).table().to_pandas().head()

# %% [markdown]
# ## A shadow
#
# So that there is something to watch, a second model runs beside it: sixty trees trained on the same rows, which did
# not have to pass the gate. Nobody should act on it. It shows what the gate keeps out, and would be the first to tell
# when that begins to be worth something.

# %%
shadow = monitor.shadow(model, rows, found.train)
said = score(shadow, later)

# %% [markdown]
# ## Have the inputs moved?
#
# The stability index compares each feature with the rows the model was trained on: 0 is the same distribution, 0.25
# is commonly called large. It grows by chance alone when there are few rows, so look at the count below each week
# first: with ten bins, 60 rows against 270 give about 0.18 from sampling alone. What stays dark week after week has
# moved.

# %%
plots.drift(monitor.drift(rows.take(found.train), later, week))

# %% [markdown]
# ## Do forecasts come true?
#
# The band is where the share of outcomes should lie if every forecast were right; exactly one of the nine bands of a
# day can win, so that share hardly varies and the band is too wide here. Below, the log loss of the shadow beside
# that of the price.

# %%
periods = monitor.over_time(later, said.probability, week)
plots.over_time(periods, "shadow", rows.baseline)

# %% [markdown]
# The same as numbers. `saved` is what the shadow saves against the price, with an interval by day; a week has too few
# days for one, and says so with a null.

# %%
monitor.table(periods).to_pandas().round(4)

# %% [markdown]
# ## Forecasts and outcomes
#
# Where the shadow agrees with the market its points lie on the diagonal. The running sum tells *when* it was better
# or worse: a gain that comes from one week is not a property of the model.

# %%
plots.forecasts(later, said.probability)
