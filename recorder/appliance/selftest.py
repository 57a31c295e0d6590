"""A proof that this installation works on this machine: an appliance on simulated venues, in a folder and on ports of
its own. Rows must grow, a killed program and a restarted Postgres must come back, and nothing may be lost.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from recorder import portmap
from recorder.appliance import process_list, processes, supervisor
from recorder.appliance.observation import observe
from recorder.appliance.supervisor import Supervisor
from recorder.errors import RecorderError
from recorder.portmap import PortUse
from recorder.settings import Settings

BACK_S = 60.0
_GROWTH_S = 5.0
_COMMAND_S = 300.0
_SLOW_S = 120.0  # after `up` gave up: a busy machine needs it
_VENUES = "coinbase,kraken,okx,polymarket"  # by number, by checksum, by snapshots, by markets
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER")  # nothing that sets anything of Tapedeck
_BASES = range(10_000, 32_000, 200)


class SelfTestError(RecorderError):
    """Something that must hold on every machine does not hold here."""


def run(present: Settings, report: Callable[[str], None]) -> None:
    """Start an appliance, disturb it, compare what it stored with what was sent, and remove it.

    Args:
        present: The settings of this machine; only their environment is used.
        report: Called with a sentence after each step.

    Raises:
        SelfTestError: a step failed; its message has the end of the logs.
    """
    folder = Path(tempfile.mkdtemp(prefix="tapedeck-selftest-"))
    given = present.environment()
    environment = {name: given[name] for name in _KEPT if name in given} | {
        "TAPEDECK_HOME": str(folder / "var"),
        "TAPEDECK_CONFIG": "demo",
        "TAPEDECK__PORT_BASE": str(free_base()),
        "TAPEDECK__SIMULATOR__RATE": "25",  # the appliance beside it must not suffer
    }
    test = _SelfTest(folder, environment, report)
    try:
        test.run()
    except SelfTestError as error:
        unwell = [line.program for line in observe(test.settings).status.programs if line.problem]
        ends = [f"{name}: {line}" for name in unwell for line in supervisor.last_lines(test.home, name)]
        raise SelfTestError("\n".join([str(error), *ends])) from None
    finally:
        left = processes.end(test.home, 120.0, lambda _names: None)
        if not left:
            shutil.rmtree(folder)
    if left:
        raise SelfTestError(f"these programs in {folder} do not end: {', '.join(left)}")


class _SelfTest:
    def __init__(self, folder: Path, environment: dict[str, str], report: Callable[[str], None]) -> None:
        self._folder = folder
        self._environment = environment
        self._report = report
        self.settings = supervisor.only_venues(Settings.load(None, environment), _VENUES.split(","))
        self.home = self.settings.home
        self.names = process_list.programs(self.settings)

    def run(self) -> None:
        began = time.monotonic()
        code, text = self._tapedeck("up", "--venues", _VENUES)
        if code and not processes.wait_until(lambda: observe(self.settings).status.healthy, _SLOW_S, pause_s=0.5):
            raise SelfTestError(f"the appliance does not become healthy:\n{text}")
        self._report(f"recording after {time.monotonic() - began:.0f} s: {len(self.names)} programs")
        self._grows()
        recorder = next(name for name in self.names if name.startswith("recorder-"))
        self._comes_back(recorder, signal.SIGKILL, "was killed")
        self._comes_back("postgres", signal.SIGINT, "was stopped")
        self._grows()
        code, text = self._tapedeck("verify", "--truth", str(self.home / "simulator"))
        if code:
            raise SelfTestError(f"what is stored is not what was sent:\n{text}")
        self._report("clean: the database holds what the simulated venues sent, less declared gaps, and nothing twice")

    def _grows(self) -> None:
        """Require that rows are stored now.

        Raises:
            SelfTestError: none is.
        """
        first, began = self._rows(), time.monotonic()
        if not processes.wait_until(lambda: self._rows() > first, BACK_S):
            raise SelfTestError(f"no row was stored in {BACK_S:.0f} s")
        processes.wait_until(lambda: time.monotonic() - began > _GROWTH_S, 2 * _GROWTH_S)
        self._report(f"rows rose from {first} to {self._rows()} in {time.monotonic() - began:.0f} s")

    def _rows(self) -> int:
        return observe(self.settings).status.rows

    def _comes_back(self, name: str, number: signal.Signals, what: str) -> None:
        """End a program, and require that all is healthy again.

        Raises:
            SelfTestError: it is not.
        """
        before = next((one.pid for one in Supervisor(self.home).processes() if one.name == name), 0)
        if not before:
            raise SelfTestError(f"{name} does not run")
        os.kill(before, number)
        began = time.monotonic()

        def healthy() -> bool:
            observed = observe(self.settings)
            process = observed.processes.get(name)
            return process is not None and process.pid not in (0, before) and observed.status.healthy

        if not processes.wait_until(healthy, BACK_S, pause_s=0.2):
            problems = "; ".join(observe(self.settings).status.problems)
            raise SelfTestError(f"{name} {what} and all is not healthy after {BACK_S:.0f} s: {problems}")
        self._report(f"{name} {what}; all is healthy again after {time.monotonic() - began:.1f} s")

    def _tapedeck(self, *words: str) -> tuple[int, str]:
        """Run a command, and return its exit code and what it prints."""
        command = [sys.executable, "-P", "-m", "recorder", *words]
        with tempfile.TemporaryFile() as output:  # what `up` leaves running must not hold a pipe open
            try:
                code = subprocess.run(
                    command, cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=output,
                    stderr=output, timeout=_COMMAND_S, check=False,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                raise SelfTestError(f"`tapedeck {words[0]}` does not end in {_COMMAND_S:.0f} s") from None
            output.seek(0)
            return code, output.read().decode(errors="replace").strip()


def free_base() -> int:
    """Return a base of which all ports are free now."""
    for base in random.sample(_BASES, len(_BASES)):
        ports = range(base, base + portmap.RANGE)
        if all(processes.port_problem(PortUse(port, "the self-test", "", True)) is None for port in ports):
            return base
    raise SelfTestError("no block of ports is free")
