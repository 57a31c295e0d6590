"""Errors that `analysis` raises on purpose; each message is one sentence that names the next step.

AnalysisError
  GapError      the recording may be incomplete in the requested range: request less, or set on_gap
  ModelError    a model cannot be used: train it again, or use the code that made it
  ArchiveError  an archive does not match its manifest: export again, or copy it again
InvalidRange    a ConfigError: a start or an end that cannot be used
"""

from recorder.errors import ConfigError, RecorderError


class AnalysisError(RecorderError):
    """Root of the errors that `analysis` raises on purpose."""


class GapError(AnalysisError):
    """The requested range lies in a declared gap or outside the recording."""


class ArchiveError(AnalysisError):
    """Files of an archive are missing or differ from those named in its manifest."""


class ModelError(AnalysisError):
    """A stored model is damaged, or its features changed after it was trained."""


class InvalidRange(ConfigError, ValueError):
    """A time that is not ISO 8601, has no time zone, or an end before its start."""
