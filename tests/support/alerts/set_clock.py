"""A clock that a test sets while real programs run: a small library that is loaded before that of the system."""

import mmap
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("clock.c")
_NUMBERS = struct.Struct("=qq")


class SetClock:
    """The wall clock of the programs that are started with `environment`, and what their kernel says of it."""

    def __init__(self, folder: Path) -> None:
        """Build the library, or skip the test.

        Args:
            folder: Where the library and its file of numbers are made.
        """
        compiler = shutil.which("cc")
        if compiler is None or not sys.platform.startswith("linux"):
            pytest.skip("setting the clock of real programs needs Linux and a C compiler")
        library, numbers = folder / "clock.so", folder / "clock.numbers"
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        numbers.write_bytes(_NUMBERS.pack(0, 0))
        with numbers.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _NUMBERS.size)
        self._set_ns = self._offset_ns = 0
        self.environment = {"LD_PRELOAD": str(library), "ALERTS_CLOCK": str(numbers)}

    def step(self, seconds: float) -> None:
        """Set the wall clock ahead, or back when negative."""
        self._set_ns += round(seconds * 1e9)
        self._write()

    def offset(self, seconds: float) -> None:
        """Let the kernel say that its clock is so far from its reference; 0: what it really says."""
        self._offset_ns = round(seconds * 1e9)
        self._write()

    def _write(self) -> None:
        self._shared[:] = _NUMBERS.pack(self._set_ns, self._offset_ns)
