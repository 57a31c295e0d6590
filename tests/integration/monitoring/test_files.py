"""What Prometheus' own tools say of the files, and whether the alerts fire when they should."""

import re
import subprocess

import pytest
from support.database_server import ROOT
from support.machine.prometheus import FILES, require_prometheus

RULES = FILES / "rules"
CASES = sorted((ROOT / "tests" / "integration" / "monitoring").glob("*_test.yml"))


@pytest.mark.parametrize(
    "command",
    [
        ("promtool", "check", "config", FILES / "prometheus.yml"),
        ("promtool", "check", "rules", RULES / "recording.yml", RULES / "alerts.yml"),
        ("promtool", "test", "rules", *CASES),
        ("amtool", "check-config", FILES / "alertmanager.yml"),
    ],
    ids=lambda command: " ".join(map(str, command[:3])),
)
def test_a_tool_has_no_complaint(command: tuple[str, ...]) -> None:
    require_prometheus()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=DeadMansSwitch", "severity=none"), "dead-man"),
        (("alertname=TapedeckAlert", "severity=page", "venue=kraken"), "pages"),
        (("alertname=TapedeckAlert", "severity=ticket"), "tickets"),
        (("alertname=TapedeckAlert", "severity=info"), "nothing"),
    ],
)
def test_an_alert_goes_to_the_receiver_of_its_severity(labels: tuple[str, ...], receiver: str) -> None:
    require_prometheus()
    command = ["amtool", "config", "routes", "test", f"--config.file={FILES / 'alertmanager.yml'}", *labels]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [receiver], done.stderr


def test_every_alert_is_tested_described_and_linked() -> None:
    text = (RULES / "alerts.yml").read_text()
    page = (ROOT / "docs" / "prometheus.md").read_text()
    alerts = re.findall(r"- alert: (\w+)", text)
    described = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert described == alerts[1:], "the watchdog's own alerts have the runbook"
    assert all("- Look at: " in part and "- Do: " in part for part in page.split("\n## ")[1:])
    assert {name for case in CASES for name in re.findall(r"alertname: (\w+)", case.read_text())} == set(alerts)
    for alert, body in zip(alerts, text.split("- alert: ")[1:], strict=True):
        assert "summary:" in body, alert
        target = "runbook.md#{{ $labels.rule }}" if alert == "TapedeckAlert" else f"prometheus.md#{alert.lower()}"
        assert f'runbook_url: "{{{{ $externalLabels.docs }}}}/{target}"' in body, alert


def test_settings_listen_on_loopback_and_hold_no_secret() -> None:
    for name in ("prometheus", "prometheus-alertmanager"):
        assert re.findall(r"--\S*listen-address=(\S*)", (FILES / "default" / name).read_text().replace('"', "")) in (
            ["127.0.0.1:9090"], ["127.0.0.1:9093", ""],
        )  # fmt: skip
    assert set(re.findall(r"[\w.]+:(?:8080|909\d)", (FILES / "prometheus.yml").read_text())) == {
        "127.0.0.1:8080", "127.0.0.1:9090", "127.0.0.1:9093",
    }  # fmt: skip
    settings = (FILES / "alertmanager.yml").read_text()
    assert re.findall(r"^\s*\w*(?:password|token|key|credentials):", settings, re.MULTILINE) == []
    assert re.findall(r"(?:password|credentials)_file:", settings)
