"""Which certificate authorities are trusted: one rule for every TLS connection that Tapedeck opens."""

import ssl
from pathlib import Path

from recorder.errors import ConfigError


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that verifies certificates and host names.

    Args:
        ca_file: PEM file of the only authorities to trust; None trusts those of the system, or of SSL_CERT_FILE.

    Raises:
        ConfigError: the file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it holds no certificate"
        raise ConfigError(f"ca_file: {ca_file} cannot be used: {reason}; name a PEM file of authorities") from None
