"""The simulated Polymarket."""
