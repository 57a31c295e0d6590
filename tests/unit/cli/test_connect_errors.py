"""`tapedeck test`: why no connection came to be, without names of exception classes."""

import socket
import ssl

import pytest

from recorder.cli.streams.test import explain
from recorder.errors import ConnectFailed


def certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "certificate has expired"
    return error


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (socket.gaierror(-2, "Name or service not known"), "the name feed.example cannot be resolved"),
        (ConnectionRefusedError(111, "Connection refused"), "feed.example:443 refuses connections"),
        (certificate_error(), "the certificate of feed.example is not accepted: certificate has expired"),
        (TimeoutError(), "feed.example:443 does not answer"),
        (OSError(113, "No route to host"), "feed.example:443 cannot be reached: No route to host"),
        (ValueError("x"), "feed.example:443 accepts no WebSocket connection: ValueError: x"),
    ],
)
def test_each_cause_is_a_sentence(cause: Exception, sentence: str) -> None:
    error = ConnectFailed(f"{type(cause).__name__}: {cause}")
    error.__cause__ = cause
    assert explain(error, "wss://feed.example/ws").startswith(sentence)
