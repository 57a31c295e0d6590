"""Figures for notebooks: functions that draw tables and arrays as a picture, which a notebook shows by itself.

Every axis has a label with its unit. `evaluation.figures` draws the figures of a report.
"""

from analysis.errors import extra_packages

with extra_packages("analysis.plots"):
    import matplotlib as mpl  # noqa: F401 - every module of this package needs it
