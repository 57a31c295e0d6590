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
# # 05 · A model of prediction markets, and an honest judgement
#
# The price of a prediction market *is* a forecast, and a good one. A model is worth its while only if it knows better
# on the same rows. This notebook trains on markets that have been resolved ("Will the price of Bitcoin be between A
# and B on that day?"), from the sample data in `TAPEDECK_DATA`; `TAPEDECK_QUICK=1` tries fewer parameters.

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
# The closer the end, the more the market knows. An hour before the end the price has already separated most of what
# came true from what did not; little is left to add.

# %%
plots.prices_by_outcome(rows)

# %% [markdown]
# ## A split that leaks nothing
#
# The latest rows are held out. The nine bands of a day are decided by one price, so a day lies on one side
# altogether; a training row whose label is known only after the test part has begun is purged. `train` refuses a
# split that does not keep to this.

# %%
found = splits.time_ordered(rows.spans, 0.3)
splits.require_purged(rows.spans, found)
plots.split(rows, found)

# %% [markdown]
# ## Columns nobody knew
#
# Some columns of the files would make any model look brilliant: the final volume, the true closing time. They are
# refused by name, with the reason.

# %%
dict(datasets.UNUSABLE["btc_range"])

# %% [markdown]
# ## Training
#
# Trees start from the market's price and learn a correction of its log odds. Of the correction only so much is used
# as purged out-of-fold forecasts have earned, and none where the gain could be chance.

# %%
trained = train(rows, found, budget=Budget(notebook.sized(20, 2), 120.0), seed=1)
facts = trained.model.facts
print(f"{facts.rounds} trees are used; their gain had z = {facts.trees.z:.2f}, and needed {facts.trees.needed:.2f}")

# %% [markdown]
# ## The judgement
#
# Skill is log loss saved against the market on the same rows, with a bootstrap over *days*, not rows. It is claimed
# only where the whole interval lies above zero. Where it does not, the report says "no skill shown".

# %%
judged = evaluate(trained.model, rows.take(found.test), seed=1)
print(judged.verdict)
plots.evaluation(judged)

# %% [markdown]
# ## What the trees had learned
#
# The gate keeps a correction out that could be chance. These are the purged out-of-fold forecasts of the training
# rows with all of it let in: every point off the diagonal is a disagreement with the market. The running sum on the
# right is what those disagreements would have brought.

# %%
part, forecast = trained.out_of_fold(rows)
plots.forecasts(part, forecast)

# %% [markdown]
# ## The paper that goes with it

# %%
print(model_card(facts, judged)[:1200])
