"""A cron daemon of the test's own: it reads one crontab, and sees no other of this machine."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_START = """
for folder in /run /etc/cron.d /var/spool/cron; do mount -t tmpfs tmpfs $folder; done
mkdir -p /var/spool/cron/crontabs
mount --bind "$1" /etc/crontab
exec "$2" -f
"""


@contextmanager
def running_cron(crontab: Path) -> Iterator[None]:
    """Run cron with this file in the place of /etc/crontab, in mounts of its own; or skip the test."""
    cron = shutil.which("cron", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if cron is None:
        pytest.skip("cron is not installed")
    if os.geteuid() != 0:
        pytest.skip("only root can give cron mounts of its own")
    crontab.chmod(0o600)
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _START, "sh", str(crontab), cron]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            try:
                _out, reason = process.communicate(timeout=3.0)
                pytest.skip(f"cron does not start here: {reason.strip()}")
            except subprocess.TimeoutExpired:
                yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
