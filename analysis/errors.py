"""Errors that `analysis` raises on purpose; each message is one sentence that names the next step.

AnalysisError
  GapError      the recording may be incomplete in the requested range: request less, or set on_gap
  ModelError    a model cannot be used: train it again, or use the code that made it
  ArchiveError  an archive does not match its manifest: export again, or copy it again
InvalidRange    a ConfigError: a start or an end that cannot be used
PackageMissing  a ConfigError: a package of the extra is not installed; the sentence has the command that installs it
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


class PackageMissing(ConfigError, ModuleNotFoundError):
    """A package that only the extra `analysis` installs is not there."""

    def __init__(self, message: str, package: str) -> None:
        ModuleNotFoundError.__init__(self, message, name=package)


_CHECKOUT = Path(__file__).resolve().parents[1]
_OWN = ("analysis", "recorder")


@contextmanager
def extra_packages(what: str = "") -> Iterator[None]:
    """Say which package is missing, and how it is installed, where an import inside fails because of that.

    Args:
        what: What needs the package; unset: this part of `analysis`.

    Raises:
        PackageMissing: It is not installed.
    """
    try:
        yield
    except PackageMissing:
        raise
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", *_OWN):
            raise
        checkout = (_CHECKOUT / ".ci" / "test-analysis").is_file()
        command = "make analysis" if checkout else "pip install 'tapedeck[analysis]'"
        raise PackageMissing(
            f"{what or 'this part of analysis'} needs the package {package}, which is not installed: run `{command}`",
            package,
        ) from None
