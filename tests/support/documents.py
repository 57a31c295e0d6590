"""Code blocks of the documents, and a folder with a running demo in which they are run as written.

The words after the language of a fence say how a block is run:

    ```sh              each line runs to its end and exits with 0
    ```sh follow       each line runs until Ctrl-C, after which it ends without a traceback
    ```sh long         as `sh`, but only in the long form of the tests
    ```sh elsewhere    needs another machine or the network: only its syntax is checked
    ```sql             runs in psql, reading only, unless it is an INSERT
    ```python          runs in the Python of the project
"""

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from recorder.appliance.processes import wait_until
from support.machine.ports import free_port_base

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\w+)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FOLLOW_S = 20.0


class Block(NamedTuple):
    """One fenced block of a document."""

    document: str
    line: int
    language: str
    flags: frozenset[str]
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def documents() -> list[Path]:
    """Return the pages for users: those in the root and in docs/."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def venue_pages() -> list[Path]:
    """Return the pages beside the venues, whose blocks are not run: they quote what venues send."""
    return sorted((ROOT / "recorder" / "venues").rglob("*.md"))


def blocks(document: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = document.read_text()
    name = str(document.relative_to(ROOT))
    return [
        Block(name, text.count("\n", 0, found.start()) + 1, found[1], frozenset(found[2].split()), found[3])
        for found in _FENCE.finditer(text)
    ]


class Demo:
    """A folder like a checkout, with a home and ports of its own, for the demo that `make run` starts there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for entry in ROOT.iterdir():
            if entry.name not in ("var", ".env", "tapedeck.toml"):
                (folder / entry.name).symlink_to(entry)
        ours = ("TAPEDECK_", "DATABASE_URL", "DB_")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "TAPEDECK__PORT_BASE": str(free_port_base()),
            "NO_COLOR": "1",
        }

    def run(self, block: Block, *, timeout_s: float = 240.0) -> None:
        """Run a block as its fence says.

        Raises:
            AssertionError: A command failed; the message has the place, the command and its output.
        """
        if block.language == "sql":
            admin = ["--admin"] if block.text.lstrip().startswith("INSERT") else []
            words = [".venv/bin/tapedeck", "psql", *admin, "--", "-v", "ON_ERROR_STOP=1", "-c", block.text]
            self._finish(block, words, timeout_s)
        elif block.language == "python":
            runs = block.text if "elsewhere" not in block.flags else f"compile({block.text!r}, 'block', 'exec')"
            self._finish(block, [".venv/bin/python", "-c", runs], timeout_s)
        elif "elsewhere" in block.flags:
            self._finish(block, ["bash", "-n", "-c", block.text], timeout_s)
        else:
            for command in filter(None, block.text.replace("\\\n", " ").splitlines()):
                if "follow" in block.flags:
                    self._follow(block, command)
                else:
                    self._finish(block, ["bash", "-c", command], timeout_s)

    def wait_until(self, condition: str, deadline_s: float = 240.0) -> None:
        """Wait until an SQL expression is true in the demo's database.

        Raises:
            TimeoutError: It is still not true.
        """
        if not wait_until(lambda: self._answer(condition) == "t", deadline_s, pause_s=2.0):
            raise TimeoutError(f"not true after {deadline_s} s: {condition}")

    def _answer(self, expression: str) -> str:
        command = [".venv/bin/tapedeck", "psql", "--", "-AtXc", f"SELECT {expression}"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout.strip()

    def _finish(self, block: Block, command: list[str], timeout_s: float) -> None:
        with tempfile.TemporaryFile() as output:  # a daemon that a command leaves behind must not hold a pipe open
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=timeout_s,
                check=False,
            )
            output.seek(0)
            text = output.read().decode(errors="replace")
        assert done.returncode == 0, f"{block}: {command[-1]} exits with {done.returncode}\n{text}"

    def _follow(self, block: Block, command: str) -> None:
        """Start a command that goes on for ever, wait for its first line, end it as Ctrl-C does."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=_FOLLOW_S)
        assert first, f"{block}: {command} prints nothing"
        assert b"Traceback" not in first + rest, f"{block}: {command}\n{(first + rest).decode(errors='replace')}"


@contextmanager
def running_demo() -> Iterator[Demo]:
    """Start the demo in a folder of its own, and stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-docs-") as folder:
        demo = Demo(Path(folder))
        lifecycle = [Block("documents.py", 0, "sh", frozenset(), command) for command in ("make run", "make stop")]
        try:
            demo.run(lifecycle[0])
            yield demo
        finally:
            demo.run(lifecycle[1])
