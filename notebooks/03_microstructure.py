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
# # 03 · Microstructure: trades against the book
#
# Between two trades the book shows supply and demand. This notebook puts best prices, sizes and trades side by side,
# in the order in which they were *received*, because a strategy would have seen them in that order. It needs a
# recording with trades, quotes and books: the appliance's database, or `TAPEDECK_TAPE`. The sample data hold no books,
# and the notebook then says so. `TAPEDECK_QUICK=1` uses less data.
#
# The notebook takes the instrument with the most rows in its scarcest channel, so that trades, quotes and books are
# all frequent enough to compare.

# %%
from datetime import timedelta

import numpy as np

from analysis import load, microstructure, notebook
from analysis.plots import microstructure as plots

tape = notebook.tape(hours=notebook.sized(1.0, 0.2), needs=("trade", "quote", "book"))
print(tape)
recorded = load.tape(*tape.where, source=tape.source, warmup=timedelta(0), book_warmup=timedelta(0))
trades, quotes, books = recorded.trades.rows, recorded.quotes.rows, recorded.depths.rows
print(f"{len(trades):,} trades, {len(quotes):,} quotes, {len(books):,} books")

# %% [markdown]
# ## One minute
#
# A buying taker lifts the ask, a selling taker hits the bid; triangles show the side. The imbalance below is 1 when
# all of the size at the best prices is bid, and -1 when all of it is offered.

# %%
first = int(quotes.ts_recv[len(quotes) // 2])
minute = slice(*np.searchsorted(quotes.ts_recv, [first, first + 60 * 10**9]))
prints = slice(*np.searchsorted(trades.ts_recv, [first, first + 60 * 10**9]))
plots.prices(quotes.take(minute), trades.take(prints))

# %% [markdown]
# ## The spread
#
# The spread is the cost of a round trip at the best prices. Quotes arrive in bursts, so a mean over *rows* overstates
# busy moments. The right panel weights each value by how long it was valid. No quote is carried across a gap.

# %%
plots.spreads(quotes, recorded.gaps)

# %% [markdown]
# ## Does the book predict the price?
#
# The left panel shows how far the middle moves within five seconds after a given imbalance. On most venues the line
# rises: the price tends to move away from the larger side. The right panel shows how far the middle moves towards the
# taker after a trade. The part that remains after many seconds is information; the part that reverts was the price of
# immediacy. Bands are two standard errors, and they are too narrow, because trades of one burst are not independent.

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
# Some venues do not report the side of a trade; Figure Markets is one of them. A simple estimate compares the *next*
# book with the previous one: the side that lost size at the trade's price was hit. Tapedeck stores null instead of an
# estimate, but where a venue reports the side, the estimate can be tested, together with the classic rule that
# compares the price with the middle. The undecided fraction matters as much as the errors: a book that is refilled at
# once hides the trade.
#
# Where a venue sends quotes and trades on separate streams, a quote can overtake the trade that moved it. The middle
# at the receipt of the trade is then already the new one, and the classic rule is no better than chance.

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
# The figure shows the cumulative size of the ten best levels and their distance from the middle, averaged over the
# received books.

# %%
plots.depth(microstructure.depth(books))
