"""Figures for notebooks: functions that draw tables and arrays as a picture, which a notebook shows by itself.

Every axis has a label with its unit. `evaluation.figures` draws the figures of a report.
"""
