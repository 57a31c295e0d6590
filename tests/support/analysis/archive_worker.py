"""Archive days in processes that may be killed at a given line of the archiver.

usage: python archive_worker.py URL FOLDER

A line of its input is LINE TABLE:DAY ...: a new process archives these days and is killed at the LINE-th line that it
runs in the archiver; 0: never. The answer is its exit code, -9 after a kill. Processes are forked, because imports take
seconds.
"""

import os
import signal
import sys
import traceback
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


def archive(url: str, folder: str, line: int, days: list[str]) -> None:
    """Archive days, and end there."""
    if line:
        sys.settrace(Killer(line))
    one = archiver.Archiver(url, Path(folder))
    for text in days:
        table, _, day = text.partition(":")
        one.archive(table, date.fromisoformat(day))


def main() -> None:
    """Serve the lines of the input."""
    url, folder = sys.argv[1:]
    for request in sys.stdin:
        line, *days = request.split()
        child = os.fork()
        if child == 0:
            try:
                archive(url, folder, int(line), days)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
