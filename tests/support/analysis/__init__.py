"""Data for the tests of analysis."""
