"""Rounds, journals and processes of the poller for tests."""
