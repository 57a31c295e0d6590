"""Helpers for the tests of the programs that derive."""
