"""Simulated services that have REST only: Polymarket's Gamma, CLOB and Data API, and Yahoo."""
