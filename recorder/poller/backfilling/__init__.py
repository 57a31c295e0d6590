"""The job `backfill`: reads what is asked for from the history of venues."""
