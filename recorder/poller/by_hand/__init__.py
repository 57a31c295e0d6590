"""Rounds that a person asks for: of the running poller, or in the process of the command."""
