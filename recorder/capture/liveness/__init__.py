"""Silence judged against the rate that each stream has shown."""
