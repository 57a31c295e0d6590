"""Heals gaps of trades from the history of their venue: what is read, and what it proves."""
