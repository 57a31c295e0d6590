"""bin/simulator as a process: it serves, runs actions, completes its truth log, and names errors."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machine.ports import free_port
from support.simulator.client import client, coinbase_subscribe, kraken_subscribe, read_until

from recorder.appliance.processes import wait_until
from recorder.truth import Ended, Started, TradeItem, read_truth

PROGRAM = Path(__file__).parents[3] / "bin" / "simulator"


def start(home: Path, coinbase: int, kraken: int, control: int) -> subprocess.Popen[str]:
    config = home / "tapedeck.toml"
    config.write_text(
        f"[simulator]\nenabled = true\nrate = 500.0\ncontrol_port = {control}\n"
        f"ports = {{ coinbase = {coinbase}, kraken = {kraken} }}\n"
    )
    environment = os.environ | {
        "TAPEDECK_HOME": str(home),
        "TAPEDECK_CONFIG": str(config),
        "PYTHONPATH": str(PROGRAM.parents[1]),
    }
    return subprocess.Popen(
        [sys.executable, str(PROGRAM)], env=environment, cwd=home, stderr=subprocess.PIPE, text=True
    )


def wait_until_live(home: Path, process: subprocess.Popen[str]) -> None:
    health = home / "health" / "simulator.json"
    assert wait_until(lambda: health.exists() or process.poll() is not None, 15.0), "the simulator did not become live"
    assert process.poll() is None, process.stderr.read() if process.stderr else ""


@pytest.fixture
def ports() -> list[int]:
    return [free_port() for _ in range(3)]


@pytest.fixture
def process(tmp_path: Path, ports: list[int]) -> Iterator[subprocess.Popen[str]]:
    running = start(tmp_path, *ports)
    try:
        wait_until_live(tmp_path, running)
        yield running
    finally:
        running.kill()
        running.communicate()


def test_both_venues_are_served_and_a_clean_stop_completes_the_truth(
    process: subprocess.Popen[str], ports: list[int], tmp_path: Path
) -> None:
    with client(f"ws://127.0.0.1:{ports[0]}") as one, client(f"ws://127.0.0.1:{ports[1]}/v2") as two:
        coinbase_subscribe(one, "matches")
        kraken_subscribe(two, "trade")
        read_until(one, lambda seen: any(message["type"] == "match" for message in seen))
        read_until(two, lambda seen: any(message.get("channel") == "trade" for message in seen))
        request = urllib.request.Request(
            f"http://127.0.0.1:{ports[2]}/", json.dumps({"venue": "kraken", "do": "status"}).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert json.load(answer)["kraken"]["connections"][0]["topics"] == 1
        for place in (f"{ports[2]}/", f"{ports[1]}/_control"):
            for headers in ({"Origin": "http://evil.test"}, {"Origin": "null"}, {"Host": f"evil.test:{ports[2]}"}):
                from_page = urllib.request.Request(f"http://127.0.0.1:{place}", b'{"do": "heal"}', headers)
                with pytest.raises(urllib.error.HTTPError, match="403"):
                    urllib.request.urlopen(from_page, timeout=5)
        local = urllib.request.Request(f"http://127.0.0.1:{ports[2]}/", headers={"Host": f"localhost:{ports[2]}"})
        with urllib.request.urlopen(local, timeout=5) as answer:
            assert json.load(answer).keys() == {"coinbase", "kraken"}
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    logs = list((tmp_path / "simulator").glob("truth-*.jsonl"))
    assert len(logs) == 2
    for log in logs:
        lines = list(read_truth(log))
        assert isinstance(lines[0], Started)
        assert isinstance(lines[-1], Ended)
    assert not (tmp_path / "health" / "simulator.json").exists()


def test_trade_ids_keep_rising_after_a_kill(process: subprocess.Popen[str], ports: list[int], tmp_path: Path) -> None:
    process.kill()
    process.wait(10)
    (tmp_path / "health" / "simulator.json").unlink()
    second = start(tmp_path, *ports)
    try:
        wait_until_live(tmp_path, second)
    finally:
        second.kill()
        second.communicate()
    logs = sorted((tmp_path / "simulator").glob("truth-kraken-*.jsonl"))
    ranges = []
    for log in logs:
        ids = [line.id for line in read_truth(log) if isinstance(line, TradeItem) and line.s == "BTC/USD"]
        ranges.append((min(ids), max(ids)))
    assert len(ranges) == 2
    assert ranges[0][1] < ranges[1][0]


def test_a_port_in_use_is_named_with_exit_status_2(tmp_path: Path, ports: list[int]) -> None:
    with socket.create_server(("127.0.0.1", ports[1])):
        process = start(tmp_path, *ports)
        _, errors = process.communicate(timeout=15)
    assert process.returncode == 2
    assert f"port {ports[1]}" in errors
    assert "Traceback" not in errors
