"""What Polymarket answers when it is polled: markets, resolutions, token facts. Pure translation, no I/O."""
