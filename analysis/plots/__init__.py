"""Figures for notebooks: functions of tables and arrays that give a picture, which a notebook shows by itself.

Every axis has a label with its unit. `evaluation.figures` draws those of a report.
"""
