"""The simulated venues, one folder each."""
