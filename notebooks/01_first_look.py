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
# # 01 · A first look at the tape
#
# Before any number is computed from a recording, one question comes first: *is it all there?* A quiet hour and an
# hour in which nobody was looking give the same empty rows. Tapedeck tells them apart, because every hole is a row of
# the table `gap`.
#
# What this notebook reads is decided by the environment, as in all of them: `TAPEDECK_TAPE` names an archive or a
# database; without it the database of the appliance is read (`make run` fills one), and where there is none, a day of
# real XRP/ETH trades from the sample data in `TAPEDECK_DATA`. `TAPEDECK_QUICK=1` takes less of everything.

# %%
from analysis import load, notebook
from analysis.load import extent
from analysis.load.holes import nanoseconds
from analysis.plots import tape as plots

tape = notebook.tape(hours=notebook.sized(24, 2))
print(tape)

# %% [markdown]
# ## Streams
#
# A stream is a channel of an instrument. `first` and `last` are by the clock of the channel: the venue's for trades,
# ours for quotes and books. `missing_s` counts the seconds of the range in which something may be missing.

# %%
extent.streams(tape.source, tape.venue, tape.start, tape.end).to_pandas()

# %% [markdown]
# ## Rows over time
#
# A stream that thins out is not yet a fault, and one that does not may still have holes: a shaded step is one in
# which a gap was declared, or which nobody recorded. Only an unshaded empty step means that nothing happened.

# %%
counts = extent.counts(*tape.where, every=(tape.end - tape.start) / notebook.sized(96, 48))
plots.rows_over_time(counts)

# %% [markdown]
# ## What is missing, and why
#
# Each hole has a cause: `disconnect`, `restart`, `unreadable`, ... and, where no gap was declared because nobody was
# recording at all, `unrecorded`; while a recording goes on, so is its last minute, until its sessions report. A hole
# whose trades were fetched later is healed, and hides nothing any more.

# %%
gaps = extent.missing(*tape.where)
gaps.select(["channel", "cause", "state", "started_at", "ended_at", "reason"]).to_pandas().head(10)

# %%
plots.missing(gaps, nanoseconds(tape.start), nanoseconds(tape.end))

# %% [markdown]
# ## Reading it honestly
#
# `load` refuses a range that is not whole unless told otherwise. `on_gap="mask"` takes it and marks the rows beside a
# hole, so that they can be left out of whatever is computed next; anything that trains a model should keep the
# default, `"raise"`.

# %%
trades = load.trades(*tape.where, on_gap="mask")
marked = trades["in_gap"].to_pandas()
print(f"{len(trades):,} trades, {marked.sum():,} of them beside a hole")
trades.select(["ts_event", "price", "size", "aggressor", "in_gap"]).to_pandas().head()

# %% [markdown]
# ## How late is the tape?
#
# A feature may use a row only from the moment it was *received*. This is what that costs. The sample data know one
# clock only, and say so.

# %%
plots.delays(trades)
