"""The simulated Kraken."""
