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
# # 03 · Microstructure: trade against book
#
# Between two trades the book tells who wants what. Here best prices, sizes and trades are put side by side, in the
# order in which they were *received*: that is what a strategy would have seen. This notebook needs a tape with
# trades, quotes and books: the appliance's database, or `TAPEDECK_TAPE`. The sample data hold none, and then it says
# so. `TAPEDECK_QUICK=1` takes less.

# %%
from datetime import timedelta

import numpy as np

from analysis import load, microstructure, notebook
from analysis.plots import microstructure as plots

tape = notebook.tape(hours=notebook.sized(1.0, 0.2), needs=("trade", "quote", "book"))
print(tape)
held = load.tape(*tape.where, warmup=timedelta(0), book_warmup=timedelta(0))
trades, quotes, books = held.trades.rows, held.quotes.rows, held.depths.rows
print(f"{len(trades):,} trades, {len(quotes):,} quotes, {len(books):,} books")

# %% [markdown]
# ## One minute
#
# A taker who buys lifts the ask, one who sells hits the bid; triangles show which. Below, the imbalance: 1 when all
# of the size at the best prices is bid, -1 when all of it is offered.

# %%
first = int(quotes.ts_recv[len(quotes) // 2])
minute = slice(*np.searchsorted(quotes.ts_recv, [first, first + 60 * 10**9]))
prints = slice(*np.searchsorted(trades.ts_recv, [first, first + 60 * 10**9]))
plots.prices(quotes.take(minute), trades.take(prints))

# %% [markdown]
# ## The spread
#
# What a round trip at the best prices costs. Quotes come in bursts, so a mean over *rows* overstates the busy
# moments: on the right each value counts for as long as it stood.

# %%
plots.spreads(quotes)

# %% [markdown]
# ## Does the book know?
#
# On the left: where the middle stands five seconds after a given imbalance. On most venues the line rises: the side
# with more size tends to win. On the right: how far the middle moves towards the taker after a trade. What remains
# after many seconds is what the trade has told the market; what comes back was the price of immediacy. Bands are two
# standard errors, and too narrow, because trades of one burst are not independent.

# %%
after_s = np.array([0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
edges = np.linspace(-1, 1, 11)
median = np.median(trades.size)
plots.responses(
    microstructure.binned(microstructure.imbalance(quotes), microstructure.next_move(quotes, 5.0), edges),
    5.0,
    {
        "small trades": microstructure.impact(trades.take(trades.size <= median), quotes, after_s),
        "large trades": microstructure.impact(trades.take(trades.size > median), quotes, after_s),
    },
)

# %% [markdown]
# ## Who was the taker?
#
# Some venues do not say; Figure Markets is one. Its first recorder guessed: whichever side of the *next* book had
# lost size at the trade's price must have been hit. Tapedeck stores null rather than a guess, but where a venue does
# tell the side, the guess can be put to the test, next to the classic rule that compares the price with the middle.
# What a rule leaves undecided matters as much as what it gets wrong: a book that is refilled at once hides the trade.
#
# And where a venue sends quotes and trades on streams of their own, a quote can overtake the trade that moved it:
# then the middle that stood at the receipt of the trade is already the new one, and the classic rule is no better
# than a coin.

# %%
plots.sides(
    [
        microstructure.agreement("next book", microstructure.side_by_book(trades, books), trades.side),
        microstructure.agreement("middle of the quote", microstructure.side_by_quote(trades, quotes), trades.side),
    ]
)

# %% [markdown]
# ## Depth
#
# How much stands up to each of the ten best levels and how far away these are, averaged over the books received.

# %%
plots.depth(microstructure.depth(books))
