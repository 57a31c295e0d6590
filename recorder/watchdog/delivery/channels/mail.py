"""Messages by e-mail: SMTP with a verified certificate, and one deadline for all of it."""

import contextlib
import email.utils
import smtplib
import socket
import ssl
import threading
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any, Literal, NamedTuple

from recorder.clock import Clock
from recorder.printable import printable
from recorder.process.deadline import Stopped
from recorder.process.trust import tls_context
from recorder.rest.interruptible import PlainSocket, TlsSocket, deadline
from recorder.watchdog.delivery.channels.post import reason
from recorder.watchdog.delivery.message import Message, plain, title
from recorder.watchdog.delivery.outbox import Answer

Encryption = Literal["starttls", "implicit", "none"]
_SUBJECT_MAX = 180  # characters


class Server(NamedTuple):
    """A server that takes e-mail."""

    host: str
    port: int
    encryption: Encryption
    user: str | None
    password: str | None


class Mail:
    """Sends messages through one server."""

    name = "email"

    def __init__(
        self,
        server: Server,
        sender: str,
        recipients: Sequence[str],
        source: str,
        ca_file: Path | None,
        timeout_s: float,
        clock: Clock,
    ) -> None:
        """
        Args:
            server: The server.
            sender: An address.
            recipients: Addresses, at least one.
            source: The name of this appliance.
            ca_file: PEM file of the authorities to trust; None: those of the system.
            timeout_s: For all of one message.
            clock: Measures it.

        Raises:
            ConfigError: the file of authorities cannot be used.
        """
        self._server = server
        self._sender = sender
        self._recipients = tuple(recipients)
        self._source = source
        self._timeout_s = timeout_s
        self._clock = clock
        self._context = tls_context(ca_file)
        self._context.sslsocket_class = TlsSocket
        self.describes = f"e-mail to {', '.join(recipients)} through {server.host}:{server.port}"

    def send(self, message: Message, stop: threading.Event, *, repeated: bool = False) -> Answer:
        """Send a message; see `Channel`."""
        mail = written(message, self._source, self._sender, self._recipients, self._clock.wall_ns(), repeated=repeated)
        handing = _Handing()
        try:
            with deadline(stop, self._clock, self._timeout_s):
                return self._deliver(mail, handing)
        except Stopped:
            if handing.over:
                return Answer("unknown", "the program stopped before the answer came")
            raise
        except smtplib.SMTPResponseException as error:
            return _judged(error.smtp_code, error.smtp_error)
        except smtplib.SMTPNotSupportedError:
            return Answer("later", "the server offers no STARTTLS, or no login that fits; nothing is sent without")
        except (smtplib.SMTPException, OSError, ValueError) as error:
            if handing.over:
                return Answer("unknown", f"no answer ({reason(error)})")
            return Answer("later", reason(error))

    def _deliver(self, mail: EmailMessage, handing: "_Handing") -> Answer:
        server = self._server
        connection = _Connection(server, self._context, self._timeout_s)
        with contextlib.closing(connection):
            if server.encryption == "starttls":
                connection.ehlo()
                connection.starttls(context=self._context)
            connection.ehlo()
            if server.user is not None:
                connection.login(server.user, server.password or "")
            _require(connection.mail(self._sender))
            refused = []
            for recipient in self._recipients:
                code, text = connection.rcpt(recipient)
                if not 200 <= code <= 299:
                    refused.append(Answer("refused", f"{recipient}: {_words(code, text)}"))
                    if len(refused) == len(self._recipients):
                        return _judged(code, text)
            handing.over = True
            _require(connection.data(mail.as_bytes()))
            handing.over = False
            with contextlib.suppress(OSError):  # the message is taken; nothing waits for the farewell
                connection.putcmd("quit")
            if refused:
                return Answer("taken", "; ".join(["not for all", *(one.text for one in refused)]))
            return Answer("taken", "250")


class _Handing:
    """Whether the text of a message was handed over, and no answer has come."""

    over = False


class _Connection(smtplib.SMTP):
    """A connection whose waits end with the deadline of the message, and at a stop."""

    def __init__(self, server: Server, context: ssl.SSLContext, timeout_s: float) -> None:
        self._implicit = context if server.encryption == "implicit" else None
        # Without a name of its own, smtplib asks the resolver for that of this machine, which may take long.
        super().__init__(server.host, server.port, local_hostname="localhost", timeout=timeout_s)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connected = PlainSocket(fileno=socket.create_connection((host, port), timeout).detach())
        connected.settimeout(timeout)
        if self._implicit is None:
            return connected
        return self._implicit.wrap_socket(connected, server_hostname=host)


def written(
    message: Message, source: str, sender: str, recipients: Sequence[str], wall_ns: int, *, repeated: bool
) -> EmailMessage:
    """Return an e-mail: one line as its subject, plain text, and headers that keep automatic answers away (RFC 3834).

    Args:
        message: The message.
        source: The name of this appliance.
        sender: An address.
        recipients: Addresses.
        wall_ns: The time now.
        repeated: Whether an earlier attempt may have reached the receiver.
    """
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))  # any server takes it
    mail["Subject"] = printable(title(message))[:_SUBJECT_MAX]
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Date"] = email.utils.formatdate(wall_ns / 1e9)
    mail["Message-ID"] = f"<{message.id}@tapedeck.invalid>"  # the same for a repeat, so that readers may drop it
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail["X-Tapedeck-Id"] = message.id
    mail.set_content(plain(message, source, repeated=repeated) + "\n")
    return mail


def _require(answer: tuple[int, bytes]) -> None:
    code, text = answer
    if not 200 <= code <= 299:
        raise smtplib.SMTPResponseException(code, text)


def _judged(code: int, text: Any) -> Answer:
    """Return what a refusal says: 4xx passes; 5xx does not, for a login that is wrong as for a message."""
    if code in (530, 534, 535, 538):
        return Answer("later", f"{_words(code, text)}; are user and password right?", 60.0)
    return Answer("refused" if 500 <= code <= 599 else "later", _words(code, text))


def _words(code: int, text: Any) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return f"SMTP {code} {' '.join(words.split())[:120]}"
