"""What the watchdog answers on loopback: pages of verdicts, and metrics."""
