"""Settings of messages about alerts: secrets from files, and values that could not work are refused."""

from pathlib import Path

import pytest

from recorder.errors import ConfigError
from recorder.settings import Settings

MAIL = {"ALERT_EMAIL_TO": "ops@example.org, second@example.org", "SMTP_HOST": "smtp.example.org"}


def load(more: dict[str, str]) -> Settings:
    return Settings.load(environ={"TAPEDECK_CONFIG": "demo", **more})


def test_every_secret_may_be_in_a_file_and_none_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("https://hooks.example.org/hunter2\n")
    names = {"ALERT_WEBHOOK_URL_FILE", "ALERT_PING_URL_FILE", "SMTP_PASSWORD_FILE"}
    settings = load({**MAIL, "SMTP_USER": "me", **dict.fromkeys(names, str(file))})
    assert settings.alerts.email_to == ("ops@example.org", "second@example.org")
    for secret in (settings.monitoring.alert_webhook_url, settings.alerts.ping_url, settings.alerts.smtp_password):
        assert secret is not None
        assert secret.get_secret_value() == "https://hooks.example.org/hunter2"
    assert "hunter2" not in str(settings.shown()) + str(list(settings.rows())) + repr(settings)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"ALERT_WEBHOOK_URL": "hooks/hunter2"}, "the value .not shown. does not begin with http:// or https://"),
        ({"ALERT_PING_URL": "hunter2"}, "the value .not shown. does not begin with http:// or https://"),
        ({"ALERT_EMAIL_TO": "ops@example.org"}, "email_to is set, but smtp_host is not; set SMTP_HOST"),
        ({**MAIL, "ALERT_EMAIL_TO": "ops"}, "'ops' is not an e-mail address; write it as name@example.org"),
        ({**MAIL, "ALERT_EMAIL_FROM": "a@b\r\nBcc: c"}, "is not an e-mail address"),
        ({**MAIL, "SMTP_USER": "me"}, "smtp_user is set, but smtp_password is not"),
        ({**MAIL, "TAPEDECK__ALERTS__SMTP_TLS": "none"}, "smtp_tls = none is for a server on loopback only"),
        ({"ALERT_COOLDOWN_SECONDS": "1"}, "'1' is too small; the least is 10"),
    ],
)
def test_a_value_that_cannot_work_is_refused_without_its_secret(more: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        load(more)
    assert "hunter2" not in str(caught.value)


def test_a_login_of_another_program_in_the_environment_disturbs_nothing() -> None:
    assert load({"SMTP_HOST": "localhost", "SMTP_USER": "me"}).alerts.email_to == ()
