"""Helpers of the tests of the program web."""
