"""Pages of charts, books, prediction markets, spreads, models and instruments, and the data that they draw."""
