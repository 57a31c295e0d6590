"""A deployment to a fresh machine: it ends healthy, changes nothing when it is repeated, and leaves nothing open."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.database_server import ROOT
from support.machine.checkout import copy_checkout
from support.machine.hosts import Finished, Host, running_host

from recorder.appliance.processes import wait_until

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(1800)]
_RECAP = re.compile(r"changed=(\d+) +unreachable=(\d+) +failed=(\d+)")


def recap(done: Finished) -> tuple[int, int, int]:
    """Return how many tasks changed something, did not reach the host, and failed."""
    found = _RECAP.findall(done.stdout)
    assert found, done.stdout + done.stderr
    changed, unreachable, failed = found[-1]
    return int(changed), int(unreachable), int(failed)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A machine with systemd, on which this checkout is deployed."""
    with running_host(tmp_path_factory.mktemp("host")) as host:
        done = host.deploy()
        assert done.returncode == 0, done.stdout + done.stderr
        yield host


def test_a_fresh_machine_records_after_a_deployment(host: Host) -> None:
    status = json.loads(host.output("tapedeck status --json"))
    assert status["healthy"], status["problems"]
    assert status["rows"] > 0
    assert host.output("systemctl is-active tapedeck").strip() == "active"


def test_a_second_deployment_changes_nothing(host: Host) -> None:
    done = host.deploy()
    assert recap(done) == (0, 0, 0), done.stdout
    assert done.returncode == 0


def test_only_the_appliance_reads_its_settings_and_data(host: Host) -> None:
    open_to_all = host.output("find /etc/tapedeck /var/lib/tapedeck -perm /o=rwx ! -type l")
    assert open_to_all == ""
    modes = host.output("stat -c '%a %U:%G %n' /etc/tapedeck/tapedeck.toml /etc/tapedeck/tapedeck.env")
    assert modes.splitlines() == [
        "640 root:tapedeck /etc/tapedeck/tapedeck.toml",
        "600 tapedeck:tapedeck /etc/tapedeck/tapedeck.env",
    ]
    assert host.output("find /opt/tapedeck -writable ! -user root ! -type l") == ""
    users = set(host.output("ps -eo user:20,args | grep -E '/opt/tapedeck' | grep -v grep | cut -d' ' -f1").split())
    assert users == {"tapedeck"}


def test_nothing_but_ssh_listens_beyond_loopback(host: Host) -> None:
    listening = [line.split()[3] for line in host.output("ss -Hltn").splitlines()]
    beyond = [place for place in listening if not place.startswith(("127.", "[::1]"))]
    assert beyond == [f"{host.address}:22"]
    assert len(listening) > 1


@pytest.mark.long
def test_a_stop_is_clean_and_a_reboot_starts_it_again(host: Host) -> None:
    host.output("timeout 60 systemctl stop tapedeck")
    assert host.output("systemctl show -p Result --value tapedeck").strip() == "success"
    assert host.output("pgrep -u tapedeck || true") == ""
    host.reboot()
    assert wait_until(lambda: host.run("tapedeck status").returncode == 0, 240.0, pause_s=2.0)


@pytest.mark.long
def test_a_release_that_does_not_work_goes_back_by_itself(host: Host, tmp_path: Path) -> None:
    before = host.output("readlink /opt/tapedeck/current")
    broken = copy_checkout(tmp_path / "broken")
    for name in (".venv", ".venv-deploy"):
        (broken / name).symlink_to(ROOT / name)
    writer = broken / "recorder" / "programs" / "writer.py"
    writer.write_text(writer.read_text().replace("import sys", "raise SystemExit('this release is broken')", 1))
    done = host.deploy(checkout=broken)
    assert done.returncode != 0
    assert "does not work in this release" in done.stdout
    assert host.output("readlink /opt/tapedeck/current") == before
    host.output("tapedeck status")


@pytest.mark.long
def test_a_release_that_changes_one_venue_restarts_one_recorder(host: Host, tmp_path: Path) -> None:
    changed = copy_checkout(tmp_path / "changed")
    for name in (".venv", ".venv-deploy"):
        (changed / name).symlink_to(ROOT / name)
    with (changed / "recorder" / "venues" / "kraken" / "stream.py").open("a") as file:
        file.write("\n# another release\n")
    pids = "supervisorctl status | awk '{print $1, $4}'"
    before = dict(line.split(maxsplit=1) for line in host.output(pids).splitlines())
    done = host.deploy(checkout=changed)
    assert done.returncode == 0, done.stdout
    after = dict(line.split(maxsplit=1) for line in host.output(pids).splitlines())
    assert set(after) - set(before) == {"recorder-kraken-b"}, "the process in the other slot records now"
    assert set(before) - set(after) == {"recorder-kraken"}
    assert after["recorder-coinbase"] == before["recorder-coinbase"]
    assert after["postgres"] == before["postgres"]
    back = host.deploy("rollback")
    assert back.returncode == 0, back.stdout
    host.output("tapedeck status")


@pytest.mark.long
def test_a_machine_without_systemd_records_after_a_deployment(tmp_path: Path) -> None:
    with running_host(tmp_path / "host", init="none") as host:
        done = host.deploy()
        assert done.returncode == 0, done.stdout + done.stderr
        host.output("tapedeck status")
        assert recap(host.deploy()) == (0, 0, 0)
        host.output("tapedeck down")


@pytest.mark.long
def test_all_that_is_wrong_is_named_before_anything_is_changed(tmp_path: Path) -> None:
    with running_host(tmp_path / "host") as host:
        listener = 'import socket,time; s=socket.create_server(("127.0.0.1", 8080)); time.sleep(600)'
        host.output(f"setsid python3 -c '{listener}' >/dev/null 2>&1 </dev/null &")
        before = host.output("dpkg -l | md5sum; ls /opt /etc | md5sum")
        secrets = {"DATABASE_URL": "postgresql://tapedeck:secret@no-such-host.invalid/tape"}
        done = host.deploy(host_messages_per_s=1e6, host_days=1000, app_database="external", app_secrets=secrets)
        assert done.returncode != 0
        assert "secret@" not in done.stdout
        for subject in ("disk", "ports", "database"):
            assert re.search(rf"problem +{subject}", done.stdout), done.stdout
        assert recap(done)[0] == 0
        assert host.output("dpkg -l | md5sum; ls /opt /etc | md5sum") == before
