"""Set-up in a fresh clone: two commands at once work, and nothing is left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.database_server import ROOT
from support.machine.checkout import copy_checkout
from support.machine.ports import free_port_base

from recorder.appliance import processes

_UV = """\
#!/bin/sh
# Stands for uv: it creates the environment and installs nothing, and notes when each of both began and ended.
for last; do :; done
echo "begin $1 $last" >>"$SETUP_NOTES"
case "$1" in
venv) mkdir -p .venv/bin && ln -sf "$REAL_PYTHON" .venv/bin/python ;;
pip) sleep 1 ;;
esac
echo "end $1 $last" >>"$SETUP_NOTES"
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment whose uv is the one above; it writes `tmp_path / "notes"`."""
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(_UV)
    uv.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{uv.parent}{os.pathsep}{os.environ['PATH']}",
        "SETUP_NOTES": str(tmp_path / "notes"),
        "REAL_PYTHON": sys.executable,
    }


def test_the_second_of_two_set_ups_waits_and_finds_the_work_done(tmp_path: Path, environ: dict[str, str]) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    notes = tmp_path / "notes"
    both = [
        subprocess.Popen(["make", "setup"], cwd=checkout, env=environ, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    steps = ["venv .venv", "pip .ci/requirements.txt", "pip ."]
    assert notes.read_text().splitlines() == [f"{word} {step}" for step in steps for word in ("begin", "end")]
    assert sum("another setup is at work" in text for text in said) == 1
    assert subprocess.run(["make", "setup"], cwd=checkout, env=environ, check=False).returncode == 0
    assert len(notes.read_text().splitlines()) == 6, "a fresh environment is left alone"


def test_an_environment_that_is_made_again_keeps_the_extra_analysis(tmp_path: Path, environ: dict[str, str]) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".analysis").touch()
    for _ in range(2):
        subprocess.run(["make", "setup"], cwd=checkout, env=environ, check=True)
        assert "begin pip .ci/requirements-analysis.txt" in (tmp_path / "notes").read_text()
        (tmp_path / "notes").unlink()
        (checkout / "setup.cfg").touch()


def test_every_package_is_pinned_to_one_version_by_its_hashes() -> None:
    """setuptools builds the project, so it has the version of the pins wherever it is fetched."""
    every, recorder, uv = (_pins(name) for name in ("requirements-analysis.txt", "requirements.txt", "uv.txt"))
    assert len(uv) == 1
    assert {name for name, _version in recorder} >= {"websocket-client", "pytest"}
    assert recorder <= every, "both files name the same versions"
    [setuptools] = [version for name, version in recorder if name == "setuptools"]
    assert f'requires = ["setuptools=={setuptools}"]' in (ROOT / "pyproject.toml").read_text()


def _pins(name: str) -> set[tuple[str, str]]:
    """Return (package, version) of every line; a package may have one version a Python."""
    pins = set()
    for entry in (ROOT / ".ci" / name).read_text().replace("\\\n", " ").splitlines():
        package, version = entry.split(";")[0].split()[0].split("==")
        assert "--hash=sha256:" in entry, f"{package} of {name} has no hash"
        pins.add((package, version))
    return pins


@pytest.mark.long
@pytest.mark.timeout(900)
def test_status_and_run_at_once_in_a_fresh_clone_both_work(tmp_path: Path) -> None:
    """Needs the package index or a filled cache, like every first command in a clone."""
    checkout = copy_checkout(tmp_path / "checkout")
    home = checkout / "var"
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("TAPEDECK", "DATABASE_URL"))}
    environ["TAPEDECK__PORT_BASE"] = str(free_port_base())
    try:
        both = [
            subprocess.Popen(["make", target], cwd=checkout, env=environ, stdout=subprocess.PIPE, text=True)
            for target in ("status", "run")
        ]
        status, run = (process.communicate(timeout=600)[0] for process in both)
        assert both[1].returncode == 0, run
        assert "is not running" in status or "is starting" in status or "recorder-kraken" in status
        assert subprocess.run(["make", "status"], cwd=checkout, env=environ, check=False).returncode == 0
    finally:
        subprocess.run(["make", "stop"], cwd=checkout, env=environ, check=False)
    assert processes.find(home) == []
    subprocess.run(["make", "clean"], cwd=checkout, env=environ, check=True)
    left = {path.relative_to(checkout) for path in checkout.rglob("*") if home not in (path, *path.parents)}
    fresh = copy_checkout(tmp_path / "again")
    assert left == {path.relative_to(fresh) for path in fresh.rglob("*")}
