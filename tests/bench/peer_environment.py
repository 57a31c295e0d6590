"""The virtual environment of the peer: cryptofeed 2.5, which needs Python 3.12 or later.

An interpreter counts only when it runs: a name on PATH may be a shim of pyenv whose version is not selected, which
ends with status 127. So every candidate is asked for its version.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("cryptofeed==2.5.*", "asyncpg")
PYTHON_VARIABLE = "TAPEDECK_BENCH_PYTHON"
OLDEST = (3, 12)
NEWEST = (3, 13)  # of those for which all of the peer's packages have wheels
_NAMES = ("python3.12", "python3.13", "python3", "python")
_CHECK = "import asyncpg, cryptofeed, importlib.metadata as m; print(m.version('cryptofeed'))"


class PeerMissing(Exception):
    """The peer cannot be run here; the text says in one sentence what is lacking."""


def candidates() -> Iterator[str]:
    """Yield paths that may be a suitable Python, the likeliest first."""
    named = os.environ.get(PYTHON_VARIABLE)
    if named:
        yield named
        return
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    for name in _NAMES:
        yield from (str(folder / name) for folder in folders if os.access(folder / name, os.X_OK))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from (str(path) for path in sorted(pyenv.glob("versions/3.1[23]*/bin/python3")))
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    if os.access(uv, os.X_OK):
        found = _output([uv, "python", "find", "--no-python-downloads", "3.12"])
        if found:
            yield found
    yield sys.executable


def version_of(python: str) -> tuple[int, int] | None:
    """Return the version of an interpreter; None when it does not run."""
    answer = re.fullmatch(r"(\d+) (\d+)", _output([python, "-c", "import sys; print(*sys.version_info[:2])"]))
    return None if answer is None else (int(answer[1]), int(answer[2]))


def find_python() -> str:
    """Return an interpreter that runs and that the peer supports.

    Raises:
        PeerMissing: there is none.
    """
    for python in candidates():
        version = version_of(python)
        if version is not None and OLDEST <= version <= NEWEST:
            return python
    raise PeerMissing(f"no Python 3.12 or 3.13 that runs was found; install one, or name it in {PYTHON_VARIABLE}")


def peer_python(folder: Path) -> str:
    """Return the interpreter of the peer's environment, which is made when it is missing or incomplete.

    Raises:
        PeerMissing: it cannot be made.
    """
    python = str(folder / "bin" / "python")
    if _installed(python):
        return python
    base = find_python()
    if _status([base, "-m", "venv", "--clear", str(folder)]) != 0:
        raise PeerMissing(f"{base} cannot make a virtual environment in {folder}; is its module venv installed?")
    if _status([python, "-m", "pip", "install", "--quiet", *PACKAGES]) != 0 or not _installed(python):
        raise PeerMissing(f"{' and '.join(PACKAGES)} cannot be installed; is the package index in reach?")
    return python


def _installed(python: str) -> bool:
    return _output([python, "-c", _CHECK]).startswith("2.5.")


def _output(command: list[str]) -> str:
    """Return what a command prints; nothing when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _status(command: list[str]) -> int:
    try:
        return subprocess.run(command, capture_output=True, timeout=600, check=False).returncode
    except (OSError, subprocess.TimeoutExpired):
        return -1
