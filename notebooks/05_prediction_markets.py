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
# # 05 · A model of prediction markets and its evaluation
#
# The price of a prediction market *is* a forecast, and a good one. A model is useful only if it forecasts better on
# the same rows. This notebook trains on resolved markets ("Will the price of Bitcoin be between A and B on that
# day?"), from the sample data in `TAPEDECK_DATA`; `TAPEDECK_QUICK=1` tries fewer parameters.

# %%
from analysis import datasets, notebook, splits
from analysis.evaluation import data_sheet, evaluate, model_card
from analysis.models import Budget, train
from analysis.plots import models as plots

folder = notebook.sample_data("resolved_markets")
rows = datasets.load("btc_range", folder)
print(data_sheet(rows)[:900])

# %% [markdown]
# ## The forecast to beat
#
# The closer the end, the more the market knows. An hour before the end, the price already separates most of the
# outcomes, and little is left to improve.

# %%
plots.prices_by_outcome(rows)

# %% [markdown]
# ## A split without leaks
#
# The latest rows are held out. One price decides all nine bands of a day, so a day belongs to one side of the split.
# A training row whose label becomes known only after the test part has begun is purged. `train` refuses a split that
# violates these rules.

# %%
found = splits.time_ordered(rows.spans, 0.3)
splits.require_purged(rows.spans, found)
plots.split(rows, found)

# %% [markdown]
# ## Columns that were unknown at the time
#
# Some columns of the files would make any model look brilliant, such as the final volume or the true closing time.
# They are refused by name, with the reason.

# %%
dict(datasets.UNUSABLE["btc_range"])

# %% [markdown]
# ## Training
#
# The first stage recalibrates the price by two parameters, an intercept and a slope of its log odds, when a score test
# on all training rows refuses the price as it stands. The second stage adds trees, multiplied by a shrinkage factor,
# when their purged out-of-fold corrections hold information that a line does not. Each stage has a test of its own, and
# a search of parameters raises the burden of proof of the trees alone.

# %%
trained = train(rows, found, budget=Budget(notebook.sized(20, 2), 120.0), seed=1)
metadata = trained.model.metadata
print("recalibration:", metadata.calibration_test.outcome)
print("trees:", metadata.trees_test.outcome)

# %% [markdown]
# ## Evaluation
#
# Skill is the log loss saved against the market on the same rows, with a bootstrap over *days*, not rows. It is
# claimed only when the whole interval lies above zero; otherwise the report states "no skill shown".

# %%
evaluation = evaluate(trained.model, rows.take(found.test), seed=1)
print(evaluation.verdict)
plots.evaluation(evaluation)

# %% [markdown]
# ## What the trees learned
#
# The acceptance tests reject corrections that could be chance. This figure shows the purged out-of-fold forecasts of
# the training rows with the unshrunk correction: every point off the diagonal disagrees with the market. The running
# sum on the right shows the log loss that these disagreements would have saved.

# %%
part, forecast = trained.out_of_fold(rows)
plots.forecasts(part, forecast)

# %% [markdown]
# ## The model card

# %%
print(model_card(metadata, evaluation)[:1200])
