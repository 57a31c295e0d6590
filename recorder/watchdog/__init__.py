"""The program watchdog: it gathers evidence, judges it by rules, answers on loopback, and keeps the alerts."""

FOLDER = "watchdog"
"""Of the home: the state that outlives a restart of the watchdog."""
