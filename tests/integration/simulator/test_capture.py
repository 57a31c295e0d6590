"""Captures are played to a client exactly as they stand in the file."""

import gzip
import time
from pathlib import Path

import pytest
from support.simulator.client import client
from websockets.exceptions import ConnectionClosedOK

from recorder.errors import ConfigError
from recorder.simulator.running import playing
from recorder.truth import RawItem, Sent, read_truth

FRAMES = [b'{"channel":"status"}', b'{"price":63005.0,"qty":2.07265550}', '{"note":"\u00e9"}'.encode(), b"[]"] * 50


def capture(folder: Path, name: str, stamps: list[float] | None = None) -> Path:
    data = b"\n".join(FRAMES) + b"\n"
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    if stamps is not None:
        (folder / "tape.recv_ts.txt").write_text("".join(f"{stamp!r}\n" for stamp in stamps))
    return path


def received(url: str) -> list[bytes]:
    frames = []
    with client(url) as socket:
        socket.send("anything")
        try:
            while True:
                frames.append(bytes(socket.recv(timeout=5, decode=False)))
        except ConnectionClosedOK:
            return frames


@pytest.mark.parametrize("name", ["tape.jsonl", "tape.jsonl.gz"])
def test_each_client_gets_the_complete_file_byte_for_byte(name: str, tmp_path: Path) -> None:
    path = capture(tmp_path, name)
    with playing("kraken", path, truth=tmp_path / "truth", close_at_end=True) as (_, url):
        assert received(url) == FRAMES
        assert received(url) == FRAMES
    lines = list(read_truth(tmp_path / "truth"))
    assert sum(isinstance(line, RawItem) for line in lines) == 2 * len(FRAMES)
    assert sum(b - a + 1 for line in lines if isinstance(line, Sent) for a, b in line.n) == 2 * len(FRAMES)


@pytest.mark.parametrize("unit", [1.0, 1e9])
def test_recorded_speed_keeps_the_recorded_distances(unit: float, tmp_path: Path) -> None:
    path = capture(tmp_path, "tape.jsonl", [(1_700_000_000 + index * 0.005) * unit for index in range(len(FRAMES))])
    with playing("kraken", path, speed=2.0, close_at_end=True) as (_, url):
        started = time.monotonic()
        assert received(url) == FRAMES
        assert 0.4 < time.monotonic() - started < 3  # one recorded second, played at double speed


def test_times_that_do_not_fit_the_frames_are_refused(tmp_path: Path) -> None:
    path = capture(tmp_path, "tape.jsonl", [1.0, 2.0])
    with pytest.raises(ConfigError, match=r"200 frames but .* has 2 times"), playing("kraken", path):
        pass


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = capture(tmp_path, "tape.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match="cannot read capture"), playing("kraken", path):
        pass
