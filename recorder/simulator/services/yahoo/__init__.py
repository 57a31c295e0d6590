"""The simulated chart service of Yahoo Finance."""
