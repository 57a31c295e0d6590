"""The token of JupyterLab: created once, readable by its owner only, and never where others read."""

import os
import stat
from pathlib import Path

import pytest

from recorder.appliance import jupyter
from recorder.errors import ConfigError
from recorder.settings import Settings


def load(home: Path, **environ: str) -> Settings:
    return Settings.load(Path("demo"), {"TAPEDECK_HOME": str(home), **environ})


def test_a_token_is_created_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        first = jupyter.token(load(tmp_path / "home"))
    finally:
        os.umask(before)
    path = jupyter.token_file(tmp_path / "home")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(first) >= 32
    assert jupyter.token(load(tmp_path / "home")) == first
    assert os.listdir(path.parent) == [path.name]
    assert jupyter.token(load(tmp_path / "other")) != first


def test_a_token_of_the_settings_is_used_and_not_written_to_a_file(tmp_path: Path) -> None:
    settings = load(tmp_path, JUPYTER_TOKEN="of my own choice")
    assert jupyter.token(settings) == "of my own choice"
    assert not jupyter.token_file(tmp_path).exists()
    assert "of my own choice" not in repr(settings) + str(list(settings.rows()))


@pytest.mark.parametrize(("mode", "text", "reason"), [(0o644, "abc", "read by other users"), (0o600, "", "is empty")])
def test_a_token_file_that_protects_nothing_is_refused(tmp_path: Path, mode: int, text: str, reason: str) -> None:
    path = jupyter.token_file(tmp_path)
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=reason):
        jupyter.token(load(tmp_path))


def test_the_command_line_holds_no_token_and_the_server_stays_on_loopback(tmp_path: Path) -> None:
    settings = load(tmp_path, JUPYTER_TOKEN="secret", TAPEDECK__JUPYTER__PORT="12345")
    words = jupyter.command(settings)
    assert not any("secret" in word for word in words)
    assert {"--ServerApp.ip=127.0.0.1", "--ServerApp.port=12345", "--ServerApp.port_retries=0"} <= set(words)
    assert jupyter.environment(settings)["JUPYTER_TOKEN"] == "secret"
