"""The program watchdog: it gathers evidence, judges it by rules, answers on loopback, and keeps the alerts."""
