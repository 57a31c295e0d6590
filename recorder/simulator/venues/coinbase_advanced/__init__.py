"""The simulated Coinbase Advanced Trade."""
