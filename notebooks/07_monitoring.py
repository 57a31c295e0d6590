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
# # 07 · Monitoring a model
#
# A model is trained once, and then its data change. This notebook trains on the first half of the Bitcoin range
# markets of the sample data (`TAPEDECK_DATA`) and scores the rest as if they arrived week by week. It asks three
# questions: have the inputs drifted, are the forecasts still calibrated, and does the model still beat the price? In
# the appliance, `tapedeck-analysis score` writes each forecast once into the table `prediction`. `TAPEDECK_QUICK=1`
# uses one horizon only.

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
# The table holds the forecasts of the model in the columns of `prediction`. When no correction is accepted, the model
# *equals* the market price.

# %%
score(model, later).table().to_pandas().head()

# %% [markdown]
# ## A shadow model
#
# A second model runs beside the first, so that there is something to monitor: sixty trees trained on the same rows
# without the acceptance test. Do not act on its forecasts. It shows what the acceptance test rejects, and whether the
# rejected correction becomes useful.

# %%
shadow = monitor.shadow(model, rows, found.train)
scored = score(shadow, later)

# %% [markdown]
# ## Have the inputs drifted?
#
# The stability index compares each feature with the training rows: 0 means the same distribution, and 0.25 is
# commonly called large. With few rows the index grows by chance, so check the number of rows below each week first:
# with ten bins, 60 rows against 270 give about 0.18 from sampling alone. A feature that stays dark for several weeks
# has drifted.

# %%
plots.drift(monitor.drift(rows.take(found.train), later, week))

# %% [markdown]
# ## Are the forecasts calibrated?
#
# The band shows where the fraction of outcomes should lie if every forecast were right. Exactly one of the nine bands
# of a day can win, so that fraction hardly varies and the band is too wide here. The lower panel compares the log
# loss of the shadow model with that of the price.

# %%
periods = monitor.over_time(later, scored.probability, week)
plots.over_time(periods, "shadow", rows.baseline)

# %% [markdown]
# The table shows the same numbers. `saved` is the log loss that the shadow model saves against the price, with an
# interval by day; a week has too few days for an interval, so it is null.

# %%
monitor.table(periods).to_pandas().round(4)

# %% [markdown]
# ## Forecasts and outcomes
#
# Points on the diagonal agree with the market. The running sum shows *when* the shadow model was better or worse: a
# gain that comes from one week is not a property of the model.

# %%
plots.forecasts(later, scored.probability)
