"""Why the recorder asks Polymarket nothing: its REST address is the service of listings, which has no books or trades.

The service of books is another address, which the poller asks every minute and oftener, so table market_snapshot has
an independent sight of each book. The service of trades lists them by condition, not by token, and answers up to five
minutes late. polymarket.md has the calls.
"""

from recorder.venues.witness import WitnessQuestions

WITNESS_QUESTIONS = WitnessQuestions(
    "trades are listed by another service, by condition and up to 300 s late",
    "books are of another service, which the poller asks",
)
