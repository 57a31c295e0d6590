"""Polymarket: stream decoder and listing."""
