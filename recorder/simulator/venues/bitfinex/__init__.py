"""The simulated Bitfinex."""
