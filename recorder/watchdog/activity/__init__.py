"""Figures of every interval: messages of each venue, trades of each instrument."""
