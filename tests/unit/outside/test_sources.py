"""The check from outside finds the same settings as the appliance, without its packages."""

from pathlib import Path

import pytest

from recorder.outside.sources import Sources, plain_toml
from recorder.settings import Settings

_HOOK = "ALERT_WEBHOOK_URL"
_LONG_HOOK = "TAPEDECK__MONITORING__ALERT_WEBHOOK_URL"
_TOML = """# a comment
home = "here" # ours
ca_file = 'authorities.pem'
[monitoring]
enabled = true
alert_webhook_url = "https://toml.example/hook"
[database]
url = "postgresql://u:p@toml.example/tape"
"""
CASES: dict[str, tuple[dict[str, str], str, str]] = {
    "nothing": ({}, "", ""),
    "a TOML file": ({}, "", _TOML),
    "dotted keys": ({}, "", 'monitoring.alert_webhook_url = "https://dotted.example/x"\n'),
    ".env": ({}, f"{_HOOK}=https://env.example/1\nexport TAPEDECK_HOME='my home' # ours\n", _TOML),
    ".env with a comment": ({}, f'{_HOOK}="https://env.example/#a" # b\nDATABASE_URL=postgresql://x@y/z # c\n', ""),
    "the environment": ({_HOOK: "https://variable.example"}, f"{_HOOK}=https://env.example/1\n", _TOML),
    "a long name": ({_HOOK: "https://flat.example", _LONG_HOOK: "https://long.example"}, "", _TOML),
    "a file": ({f"{_HOOK}_FILE": "secret"}, "", _TOML),
    "a file of a long name": ({f"{_LONG_HOOK}_FILE": "secret"}, "", ""),
    "an empty secret": ({_HOOK: ""}, f"{_HOOK}=https://env.example/1\n", _TOML),
    "an empty home": ({"TAPEDECK_HOME": ""}, "TAPEDECK_HOME=other\n", _TOML),
    "names of earlier systems": ({"LOGGER_DATA_PATH": "data"}, "TAPEDECK_HOME=other\n", ""),
    "two names of one setting": ({"LOGGER_DATA_PATH": "data", "TAPEDECK_HOME": "/srv/tape"}, "", ""),
    "another file": ({"TAPEDECK_CONFIG": "other.toml"}, "", _TOML),
    "a profile": ({"TAPEDECK_CONFIG": "live"}, "", _TOML),
}


@pytest.mark.parametrize("case", CASES)
def test_the_check_and_the_appliance_find_the_same_settings(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables, dotenv, toml = CASES[case]
    (tmp_path / "secret").write_text("https://file.example/hook\n")
    (tmp_path / "other.toml").write_text('home = "elsewhere"\n')
    if dotenv:
        (tmp_path / ".env").write_text(dotenv)
    if toml:
        (tmp_path / "tapedeck.toml").write_text(toml)
    for name in ("TAPEDECK_CONFIG", "TAPEDECK_HOME", "LOGGER_DATA_PATH", "DATABASE_URL", _HOOK):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    settings, found = Settings.load(), Sources(tmp_path, "")
    hook, url = settings.monitoring.alert_webhook_url, settings.database.url
    assert found.home() == settings.home
    assert found.webhook() == ("" if hook is None else hook.get_secret_value())
    assert found.database_url() == ("" if url is None else url.get_secret_value())
    assert found.ca_file() == ("" if settings.ca_file is None else str(settings.ca_file))


def test_texts_of_toml_are_read_where_python_has_no_toml() -> None:
    assert plain_toml(_TOML) == {
        "home": "here",
        "ca_file": "authorities.pem",
        "monitoring": {"alert_webhook_url": "https://toml.example/hook"},
        "database": {"url": "postgresql://u:p@toml.example/tape"},
    }
    assert plain_toml('a = "1"\na.b = "2"\n[[c]]\n[\nd = "x\\ty"\n') == {"a": "1"}
