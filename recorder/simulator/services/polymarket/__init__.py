"""A world of simulated Polymarket markets, and the three services that show it."""
