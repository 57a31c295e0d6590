"""Ctrl-C ends a command quietly at any moment, during its imports too."""

import fcntl
import os
import pty
import random
import signal
import subprocess
import sys
import termios
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from support.database_server import ROOT

_COMMAND = "import sys; from recorder.cli import main; print('ready', flush=True); sys.exit(main())"
_MOMENTS = 8
_TAPEDECK = ROOT / ".venv" / "bin" / "tapedeck"  # as `make setup` writes it


@pytest.mark.parametrize("words", [["status", "--watch"], ["logs"], ["settings"], ["symbols", "kraken"]])
def test_ctrl_c_at_a_terminal_is_quiet_from_the_first_millisecond_on(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "var" / "log").mkdir(parents=True)
    (tmp_path / "var" / "log" / "writer.log").write_text("a line\n")
    environ = {name: text for name, text in os.environ.items() if not name.startswith("TAPEDECK")}
    seed = int(os.environ.get("TEST_SEED", time.time_ns() % 10**6))
    print(f"TEST_SEED={seed}")
    moments = random.Random(seed)
    for _ in range(_MOMENTS):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [_TAPEDECK, *words], cwd=tmp_path, env=environ, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True, preexec_fn=partial(fcntl.ioctl, theirs, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)
        threading.Event().wait(moments.uniform(0.0, 0.4))
        os.write(ours, b"\x03")
        shown = _rest(ours)
        os.close(ours)
        code = process.wait(30)
        assert "Traceback" not in shown
        assert "KeyboardInterrupt" not in shown
        assert code in (130, -signal.SIGINT) or words in (["settings"], ["symbols", "kraken"])


def _rest(terminal: int) -> str:
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:  # Linux reports the end of the terminal's last user as an error
        pass
    return shown.decode(errors="replace")


@pytest.mark.parametrize("words", [["logs"], ["status", "--watch"]])
def test_an_interrupt_leaves_no_traceback(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "var" / "log").mkdir(parents=True)
    (tmp_path / "var" / "log" / "writer.log").write_text("a line\n")
    environ = {name: text for name, text in os.environ.items() if not name.startswith("TAPEDECK")}
    seed = int(os.environ.get("TEST_SEED", time.time_ns() % 10**6))
    print(f"TEST_SEED={seed}")
    moments = random.Random(seed)
    for _ in range(_MOMENTS):
        process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, *words],
            cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        threading.Event().wait(moments.uniform(0.0, 2.0))
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=30)
        assert err.strip() == ""
        assert process.returncode in (130, -signal.SIGINT)
