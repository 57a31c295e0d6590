"""Binance: stream decoder and listing."""
