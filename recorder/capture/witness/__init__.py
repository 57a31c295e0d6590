"""Witnesses: what a venue's REST service says about silent streams and about books."""
