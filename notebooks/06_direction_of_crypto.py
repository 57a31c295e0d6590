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
# # 06 · Up or down? A model of crypto bars
#
# Can the next hour be predicted from the last bars? The rows are five real pairs in five-minute candles from the
# sample data (`TAPEDECK_DATA`). A position is entered one bar after the decision, because a price cannot be traded at
# the moment it becomes known. `TAPEDECK_QUICK=1` tries fewer parameters.

# %%
import numpy as np

from analysis import datasets, notebook, splits
from analysis.arrays import HOUR
from analysis.evaluation import evaluate
from analysis.models import Budget, train
from analysis.plots import models as plots

rows = datasets.load("crypto_5m", notebook.sample_data("market_history"))
print(f"{len(rows):,} rows of {', '.join(np.unique(rows.subject))}; {rows.label.mean():.1%} of them rose")

# %% [markdown]
# ## The split
#
# Labels overlap: a row decided at 12:00 and one decided at 12:15 share three quarters of their hour. A random split
# would put such pairs on both sides and reward memory. Here the last days are held out, and an embargo of two hours
# keeps the neighbours of the test part out of training.

# %%
embargo = 2 * HOUR
found = splits.time_ordered(rows.spans, 0.3, embargo)
plots.split(rows, found)

# %% [markdown]
# ## Training against the base rate
#
# The baseline of each pair is the fraction of its training rows that rose. Trees may change it only when their purged
# out-of-fold corrections hold information, and skill is claimed only when they also order the rows better than chance.

# %%
trained = train(rows, found, budget=Budget(notebook.sized(20, 2), 120.0), seed=1, embargo_ns=embargo)
metadata = trained.model.metadata
print("base rates:", dict(metadata.base_rates))
print("trees:", metadata.trees_test.outcome)

# %% [markdown]
# ## Evaluation
#
# Events are days, because all pairs move together. With so few events the interval is wide, which is the correct
# statement about twenty days of data, however many rows they have.

# %%
evaluation = evaluate(trained.model, rows.take(found.test), seed=1)
print(evaluation.verdict)
plots.evaluation(evaluation)

# %% [markdown]
# ## What the trees learned
#
# Even when no correction is accepted, the out-of-fold forecasts show what the trees learned from the training rows.
# The left panel shows how far they move from the base rate, the right panel the log loss that would have been saved,
# row after row. A line that wanders around zero is noise.

# %%
part, forecast = trained.out_of_fold(rows)
plots.forecasts(part, forecast)
