"""Compares what the poller stored with what simulated REST services answered."""
