"""Kraken: stream decoder and listing."""
