"""Fills a time from the history of its venue: what is asked for, which page is next, and what was proved."""
