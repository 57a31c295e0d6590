"""Stocks of Yahoo Finance: when which symbol is requested, and the rows of its answers."""
