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
# # 01 · A first look at the recording
#
# Before computing anything from a recording, check that it is complete. An hour without trades and an hour without a
# recorder give the same empty rows. Tapedeck distinguishes them, because every missing range is a row of the table
# `gap`.
#
# The environment decides what this and every other notebook reads: `TAPEDECK_TAPE` names an archive or a database.
# Without it, the database of the appliance is read (`make run` fills one), and when there is none, a day of real
# XRP/ETH trades from the sample data in `TAPEDECK_DATA`. `TAPEDECK_QUICK=1` uses less data.

# %%
from analysis import load, notebook
from analysis.load import extent
from analysis.plots import tape as plots

tape = notebook.tape(hours=notebook.sized(24, 2))
print(tape)

# %% [markdown]
# ## Streams
#
# A stream is a channel of an instrument. `first` and `last` use the clock of the channel: the venue's for trades, the
# recorder's for quotes and books. `missing_s` counts the seconds of the range in which rows may be missing.

# %%
extent.streams(tape.venue, tape.start, tape.end, source=tape.source).to_pandas()

# %% [markdown]
# ## Rows over time
#
# A thinning stream is not necessarily a fault, and a busy one may still have missing ranges. A step is shaded when a
# gap was declared in it, or when nothing was recorded. Only an unshaded empty step means that nothing happened.

# %%
counts = extent.counts(*tape.where, every=(tape.end - tape.start) / notebook.sized(96, 48), source=tape.source)
plots.rows_over_time(counts)

# %% [markdown]
# ## Missing ranges and their causes
#
# Each missing range has a cause, such as `disconnect`, `restart` or `unreadable`. The cause is `unrecorded` when no
# recorder was running, so that no gap was declared. While a recording runs, its last minute is also `unrecorded`
# until its sessions report. A gap whose trades were fetched later is healed and is not listed.

# %%
gaps = extent.missing(*tape.where, source=tape.source)
gaps.select(["channel", "cause", "state", "started_at", "ended_at", "reason"]).to_pandas().head(10)

# %%
plots.missing(gaps, tape.start_ns, tape.end_ns)

# %% [markdown]
# ## Grades
#
# Each settled hour has a certificate with a grade, best first: `proved`, `witnessed`, `consistent`, `claimed`, `holed`.
# Hatched hours have none: the hour is not settled, it was never certified, or nothing certifies this data, such as the
# sample data. `min_grade` of every function of `load` treats lower grades as missing ranges.

# %%
plots.completeness(extent.grades_by_hour(*tape.where, source=tape.source))

# %% [markdown]
# ## Handling gaps
#
# `load` refuses a range with gaps unless `on_gap` is set. `on_gap="mask"` returns it and marks the rows beside a gap,
# so that later computations can leave them out. Code that trains a model should keep the default, `"raise"`.

# %%
trades = load.trades(*tape.where, source=tape.source, on_gap="mask")
in_gap = trades["in_gap"].to_pandas()
print(f"{len(trades):,} trades, {in_gap.sum():,} of them beside a gap")
trades.select(["ts_event", "price", "size", "aggressor", "in_gap"]).to_pandas().head()

# %% [markdown]
# ## Delivery delay
#
# A feature may use a row only after it was *received*. The figure shows how long that takes. The sample data have one
# clock only, so no delay can be measured there.

# %%
plots.delays(trades)
