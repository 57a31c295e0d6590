"""Trading hours of stock exchanges: which sessions a day has, and whether a market is open at an instant."""
