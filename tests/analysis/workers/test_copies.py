"""A second place that fsspec knows: what was written is read back. S3 itself is the long test."""

import os
import socket
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from recorder.appliance.processes import wait_until
from recorder.errors import ConfigError
from recorder.keeper.copies import place_of

DATA = b"tape" * 100_000


def written(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(DATA)
    return tmp_path / "file"


def test_a_file_is_read_back_from_a_place_of_fsspec(tmp_path: Path) -> None:
    place = place_of("memory://second/tape")
    place.put(written(tmp_path), "trade/venue=kraken/part.parquet")
    assert place.digest("trade/venue=kraken/part.parquet") == sha256(DATA).hexdigest()


def test_an_address_that_no_package_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"keeper\.copy_to cannot be used"):
        place_of("nosuch://bucket/tape")


@pytest.mark.long
def test_a_file_is_read_back_from_a_real_s3_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs and moto[server]")
    pytest.importorskip("moto", reason="needs s3fs and moto[server]")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    for name, value in (("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"),
                        ("AWS_ENDPOINT_URL", address), ("AWS_DEFAULT_REGION", "us-east-1")):  # fmt: skip
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: _answers(port), 60)
        s3fs.S3FileSystem(endpoint_url=address).mkdir("bucket")
        place = place_of("s3://bucket/tape")
        place.put(written(tmp_path), "trade/venue=kraken/part.parquet")
        assert place.digest("trade/venue=kraken/part.parquet") == sha256(DATA).hexdigest()
    finally:
        server.terminate()
        server.wait(30)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
