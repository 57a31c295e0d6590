"""The simulated Figure Markets."""
