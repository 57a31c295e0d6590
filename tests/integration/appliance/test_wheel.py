"""An installed wheel runs the appliance in an empty folder, without a checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machine.checkout import copy_checkout
from support.machine.ports import free_port_base

from recorder.appliance import processes

_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment with nothing but the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("wheel")
    checkout = copy_checkout(folder / "checkout")
    built = subprocess.run(
        [sys.executable, "-c", _BUILD, str(folder)], cwd=checkout, capture_output=True, text=True, check=True
    )
    shutil.rmtree(checkout)
    environment = folder / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    with zipfile.ZipFile(folder / built.stdout.split()[-1]) as wheel:
        wheel.extractall(packages)
    # The packages that the wheel requires come from this environment; its own tapedeck is not on the path.
    (packages / "required.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin" / "python"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert processes.end(tmp_path / "var", 60.0, lambda _left: None) == []


@pytest.mark.timeout(300)
def test_up_in_an_empty_folder_records_and_keeps_its_state_there(python: Path, folder: Path) -> None:
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("TAPEDECK", "PYTHON"))}
    environ |= {"TAPEDECK__PORT_BASE": str(free_port_base()), "DATABASE_URL": ""}

    def tapedeck(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [str(python), "-P", "-m", "recorder", *words]
        return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)

    where = [str(python), "-P", "-c", "import recorder; print(recorder.__file__)"]
    installed = subprocess.run(where, env=environ, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert str(python.parents[1]) in installed, "the wheel is tested, not the checkout"

    up = tapedeck("up", "--venues", "coinbase,binance")
    assert up.returncode == 0, up.stdout + up.stderr
    status = json.loads(tapedeck("status", "--json").stdout)
    assert status["healthy"], status["problems"]
    assert status["home"] == str(folder / "var")
    assert [line["program"] for line in status["programs"] if line["program"].startswith("recorder")] == [
        "recorder-binance",
        "recorder-coinbase",
    ]
    assert status["rows"] > 0
    assert sorted(path.name for path in folder.iterdir()) == ["var"]
    down = tapedeck("down")
    assert down.returncode == 0, down.stdout + down.stderr


def test_a_wrong_venue_is_answered_with_the_nearest(python: Path, tmp_path: Path) -> None:
    words = [str(python), "-P", "-m", "recorder", "up", "--exchanges", "coinbse"]
    answer = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "has no venue 'coinbse'; did you mean coinbase?" in answer.stderr
    assert not (tmp_path / "var").exists()
