"""What every answer shares: its form, problems, ranges and cursors of pages, and the cache."""
