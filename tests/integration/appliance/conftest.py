"""A home for an appliance that a test starts from the checkout; at the end nothing of it may run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.database_server import ROOT
from support.machine.ports import free_port_base

from recorder.appliance import supervisor


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = tmp_path / "home"
    for name in ("DATABASE_URL", "TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAPEDECK_HOME", str(home))
    monkeypatch.setenv("TAPEDECK__PORT_BASE", str(free_port_base()))
    monkeypatch.chdir(ROOT)
    yield home
    assert supervisor.stop(home, 60.0, lambda left: None) == []
