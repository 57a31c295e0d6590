"""Bitfinex: stream decoder and listing."""
