"""Coinbase Exchange: stream decoder and listing."""
