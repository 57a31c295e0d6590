"""Signals, parts that die, and parts that do not stop in time; each test runs a real process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

START = """
import sys, threading
import logging
import structlog
from recorder.process.threads import ThreadGroup, run
structlog.configure(
    logger_factory=structlog.stdlib.LoggerFactory(), processors=[structlog.stdlib.render_to_log_kwargs]
)
logging.basicConfig(level=logging.INFO, stream=sys.stderr)

def waits(stop):
    print("ready", flush=True)
    stop.wait(60)
    print(f"stopped {threading.current_thread().name}\\n", end="", flush=True)
"""


def launch(code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", START + code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_every_part_and_is_a_clean_end(number: signal.Signals) -> None:
    process = launch(
        "crew = ThreadGroup()\n"
        "crew.listen()\n"
        "crew.add('one', lambda stop: (stop.wait(60), print('stopped one\\n', end='', flush=True)))\n"
        "crew.add('two', waits)\n"
        "sys.exit(crew.wait(10))"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    status, out, err = finish(process)
    assert (status, sorted(out.splitlines()), "Traceback" in err) == (0, ["stopped one", "stopped two"], False)


def test_a_part_that_fails_ends_the_process_with_one_and_its_traceback() -> None:
    status, out, err = finish(
        launch("def fails(stop): raise ValueError('on purpose')\nsys.exit(run({'a': waits, 'b': fails}))")
    )
    assert (status, out) == (1, "ready\nstopped a\n")
    assert "on purpose" in out + err


def test_a_part_that_just_returns_ends_the_process_with_one() -> None:
    status, out, _ = finish(launch("sys.exit(run({'a': waits, 'b': lambda stop: None}))"))
    assert (status, out) == (1, "ready\nstopped a\n")


def test_a_part_that_does_not_stop_in_time_is_not_waited_for() -> None:
    status, out, err = finish(
        launch(
            "import os, threading\n"
            "never = threading.Event()\n"
            "status = run({'late': lambda stop: never.wait(60), 'b': lambda stop: None}, grace_s=0.2)\n"
            "print(status, flush=True)\n"
            "os._exit(status)"
        )
    )
    assert (status, out) == (1, "1\n")
    assert "late" in err or "late" in out


def test_a_part_may_be_added_while_the_others_run() -> None:
    status, out, _ = finish(
        launch(
            "crew = ThreadGroup()\n"
            "crew.add('first', lambda stop: (crew.add('second', waits), stop.wait(60)))\n"
            "crew.add('third', lambda stop: stop.wait(0.2))\n"
            "sys.exit(crew.wait(10))"
        )
    )
    assert (status, out) == (1, "ready\nstopped second\n")
