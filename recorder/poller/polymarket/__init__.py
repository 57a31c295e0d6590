"""Polymarket's jobs: markets and their tiers, snapshots, whales, resolutions."""
