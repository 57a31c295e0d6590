"""What the watchdog does by itself: it restarts a stuck program."""
