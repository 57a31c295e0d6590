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
# The question every newcomer asks: can the next hour be told from the last bars? The rows are five real pairs in
# five-minute candles from the sample data (`TAPEDECK_DATA`). A position is entered one bar after the decision,
# because nobody trades at a price they have only just seen. `TAPEDECK_QUICK=1` trains once instead of searching.

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
# would put such twins on both sides and reward memory. Here the last days are held out, and an embargo of two hours
# keeps the neighbours of the test part out of training.

# %%
embargo = 2 * HOUR
found = splits.time_ordered(rows.spans, 0.3, embargo)
plots.split(rows, found)

# %% [markdown]
# ## Training against even odds
#
# The baseline is a coin. The trees may leave it only as far as purged folds have shown.

# %%
trained = train(rows, found, budget=Budget(notebook.sized(20, 2), 120.0), seed=1, embargo_ns=embargo)
facts = trained.model.facts
print(f"{facts.rounds} trees are used; their gain had z = {facts.trees.z:.2f}, and needed {facts.trees.needed:.2f}")

# %% [markdown]
# ## The judgement
#
# Events are days: what moves one pair moves all of them. With so few of them the interval is wide, and that is the
# truth about twenty days of data, however many rows they have.

# %%
judged = evaluate(trained.model, rows.take(found.test), seed=1)
print(judged.verdict)
plots.evaluation(judged)

# %% [markdown]
# ## What the trees had learned
#
# Even where nothing was accepted, the out-of-fold forecasts tell what the trees made of the training rows. Left: they
# move away from one half. Right: what that would have brought, row after row. A line that wanders around zero is
# noise.

# %%
part, forecast = trained.out_of_fold(rows)
plots.forecasts(part, forecast)
