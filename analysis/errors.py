"""What `analysis` raises on purpose; each says in one sentence what to do.

AnalysisError
  GapError      the tape may be incomplete where it was asked for: ask for less, or say that it does not matter
  ModelError    a model cannot be used as it is: train it again, or use the code that made it
  ArchiveError  an archive is not what its manifest says: export again, or fetch it again
"""

from recorder.errors import RecorderError


class AnalysisError(RecorderError):
    """Root of what analysis raises on purpose."""


class GapError(AnalysisError):
    """A range that was asked for lies in a declared gap."""


class ArchiveError(AnalysisError):
    """Files of an archive are missing or are not those its manifest names."""


class ModelError(AnalysisError):
    """A stored model is damaged, or its features are not what they were when it was trained."""
