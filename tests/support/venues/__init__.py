"""Helpers for tests of venues."""
