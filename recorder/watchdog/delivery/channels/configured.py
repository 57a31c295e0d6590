"""The channels that the settings ask for."""

import socket

from recorder.clock import Clock
from recorder.settings import Settings
from recorder.watchdog.delivery.channels.base import Channel
from recorder.watchdog.delivery.channels.mail import Mail, Server
from recorder.watchdog.delivery.channels.webhook import Webhook


def channels(settings: Settings, clock: Clock) -> list[Channel]:
    """Return the channels, whether or not monitoring is switched off.

    Args:
        settings: Of the appliance.
        clock: Measures deadlines.

    Raises:
        ConfigError: the file of authorities cannot be used.
    """
    alerts, source = settings.alerts, source_of(settings)
    found: list[Channel] = []
    url = settings.monitoring.alert_webhook_url
    if url is not None:
        form = None if alerts.webhook_format == "auto" else alerts.webhook_format
        agent = settings.websocket.user_agent
        found.append(Webhook(url.get_secret_value(), form, source, agent, settings.ca_file, alerts.timeout_s, clock))
    if alerts.email_to and alerts.smtp_host is not None:
        password = None if alerts.smtp_password is None else alerts.smtp_password.get_secret_value()
        server = Server(alerts.smtp_host, alerts.smtp_port, alerts.smtp_tls, alerts.smtp_user, password)
        sender = alerts.email_from or alerts.email_to[0]
        found.append(Mail(server, sender, alerts.email_to, source, settings.ca_file, alerts.timeout_s, clock))
    return found


def source_of(settings: Settings) -> str:
    """Return the name of this appliance in messages: its machine, and its ports where they are not the usual ones."""
    usual = type(settings).model_fields["port_base"].default
    host = socket.gethostname()
    return host if settings.port_base == usual else f"{host}:{settings.port_base}"
