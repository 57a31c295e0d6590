"""Archive days one after the other, and end like a process that was killed at a given line of the archiver.

usage: python archive_worker.py URL FOLDER LINE TABLE:DAY ...   LINE counts the lines run in the archiver; 0: no kill
"""

import os
import signal
import sys
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Any

import analysis.export
from analysis.workers.archive import day as archiver

TRACED = {archiver.__file__, analysis.export.__file__}


class Killer:
    """Kills its own process at a line, counted over the traced files."""

    def __init__(self, line: int) -> None:
        self._left = line

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> Any:
        """Trace a frame of the archiver."""
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


def main() -> None:
    """Archive the days of the command line."""
    url, folder, line, *days = sys.argv[1:]
    if int(line):
        sys.settrace(Killer(int(line)))
    one = archiver.Archiver(url, Path(folder))
    for text in days:
        table, _, day = text.partition(":")
        one.archive(table, date.fromisoformat(day))


if __name__ == "__main__":
    main()
