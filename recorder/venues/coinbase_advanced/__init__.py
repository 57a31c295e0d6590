"""Coinbase Advanced Trade: stream decoder and listing."""
