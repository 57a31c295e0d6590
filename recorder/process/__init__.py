"""What every program shares: threads, settings and exit status, health, logs."""
