"""Tapedeck's recorder: capture, journal, load and proof of market data."""

__version__ = "0.1.0"
