"""A watchdog alone: the real program in a home in which nothing else runs."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from support.database_server import ROOT


class LoneWatchdog:
    """A home in which only the watchdog runs."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self._file = folder / "own.toml"
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, text: str) -> None:
        """Write the settings file, which the next start reads."""
        self._file.write_text(text)

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of its programs."""
        own = {"TAPEDECK_HOME": str(self.home), "TAPEDECK_CONFIG": str(self._file), **more}
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return {**kept, **own}

    def start(self, **more: str) -> None:
        """Start the watchdog."""
        self._process = subprocess.Popen(
            [sys.executable, ROOT / "bin" / "watchdog"], env=self.environment(more), cwd=self._file.parent
        )

    def end(self, number: signal.Signals) -> int:
        """Send the watchdog a signal and return its exit status."""
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(number)
        return process.wait(20)

    def close(self) -> None:
        """End the watchdog, however it is."""
        if self._process is not None:
            self.end(signal.SIGKILL)
