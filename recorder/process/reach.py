"""Why a server could not be reached, as a sentence for a person."""

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from urllib3.exceptions import TimeoutError as HttpTimeoutError

_DEEPEST = 12  # causes of one error; the libraries nest about five


def unreachable(error: BaseException, url: str) -> str | None:
    """Return why a server was not reached and what to check; None where it was, or the reason is not known.

    Args:
        error: What a library raised; the reason may be one of its causes.
        url: The address.
    """
    parts = urlsplit(url)
    server = parts.hostname or url
    place = f"{server}:{parts.port or (443 if parts.scheme in ('wss', 'https') else 80)}"
    for cause in _causes(error):
        match cause:
            case socket.gaierror():
                return f"the name {server} cannot be resolved; check the network and its DNS"
            case ConnectionRefusedError():
                return f"{place} refuses connections; check the address, or whether the program behind it runs"
            case ssl.SSLCertVerificationError():
                reason = cause.verify_message
                return f"the certificate of {server} is not accepted: {reason}; check the clock and any proxy"
            case TimeoutError() | HttpTimeoutError():
                return f"{place} does not answer; check the network and any firewall"
            case ConnectionError():
                return None  # it was reached, and ended the connection
            case OSError(errno=int(), strerror=str() as reason):
                return f"{place} cannot be reached: {reason}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the causes of an error, the innermost first."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and len(found) < _DEEPEST:
        found.append(following)
        following = following.__cause__ or following.__context__
    yield from reversed(found)
