"""The settings of stocks: which job and which service they make, and what is refused."""

import threading
from pathlib import Path

import pytest

from recorder.clock import ManualClock
from recorder.errors import ConfigError
from recorder.poller.jobs import jobs_of, services_of
from recorder.poller.yahoo.configured import JOB, yahoo_jobs, yahoo_services
from recorder.settings import Settings


def settings(home: Path, text: str) -> Settings:
    file = home / "tapedeck.toml"
    file.write_text(text)
    return Settings.load(file, {"TAPEDECK_HOME": str(home)})


def test_the_demo_polls_the_stock_that_is_always_open(tmp_path: Path) -> None:
    demo = Settings.load(Path("demo"), {"TAPEDECK_HOME": str(tmp_path)})
    assert JOB in [job.name for job in jobs_of(demo, ManualClock())]
    service = services_of(demo, threading.Event())["yahoo"]
    assert service.url.startswith("http://127.0.0.1:")
    service.close()


def test_without_a_symbol_there_is_no_job_and_no_service(tmp_path: Path) -> None:
    plain = settings(tmp_path, "")
    assert yahoo_jobs(plain, ManualClock()) == []
    assert yahoo_services(plain, threading.Event()) == {}


def test_the_public_address_is_used_unless_another_one_is_set(tmp_path: Path) -> None:
    (service,) = yahoo_services(settings(tmp_path, '[yahoo]\nsymbols = ["AAPL"]\n'), threading.Event()).values()
    assert service.url == "https://query2.finance.yahoo.com"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('symbols = ["A A"]', "is no symbol of Yahoo"),
        ('symbols = ["../x"]', "is no symbol of Yahoo"),
        ('symbols = ["AAPL"]\nexchanges = { APPL = "XNYS" }', "not polled: APPL; did you mean AAPL"),
        ('symbols = ["AAPL"]\nexchanges = { AAPL = "XNYZ" }', "unknown exchange 'XNYZ'; did you mean XN"),
    ],
)
def test_a_misspelt_symbol_or_exchange_is_an_error_of_the_settings(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        yahoo_jobs(settings(tmp_path, f"[yahoo]\n{text}\n"), ManualClock())
