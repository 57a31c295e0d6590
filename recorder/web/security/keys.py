"""The key that signs tokens and cursors."""

import hashlib
import hmac
import secrets
from pathlib import Path

from recorder.errors import ConfigError
from recorder.process import files
from recorder.settings import Settings
from recorder.settings.served import SECRET_BYTES

FOLDER = "web"
_FILE = "secret"


class Keys:
    """Keys for different uses, derived from one secret, so that a signature for one use fits no other."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SECRET_BYTES:
            raise ConfigError(f"the key that signs tokens is shorter than {SECRET_BYTES} bytes")
        self._secret = secret
        self.tokens = self.of("tokens")

    def of(self, use: str) -> bytes:
        """Return the key of 32 bytes for a use."""
        return hmac.digest(self._secret, use.encode(), hashlib.sha256)


def load(settings: Settings) -> Keys:
    """Return the keys of JWT_SECRET, or those of the home, which are made at the first call.

    Raises:
        ConfigError: the home cannot be read or written.
    """
    if settings.web.secret is not None:
        return Keys(settings.web.secret.get_secret_value().encode())
    return Keys(bytes.fromhex(kept(settings.home, _FILE)))


def kept(home: Path, name: str) -> str:
    """Return a random secret of 32 bytes in hexadecimal that the home keeps in a file (0600), made if missing.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    path = home / FOLDER / name
    try:
        if not path.exists():
            files.make_home(path.parent)
            files.write(path, secrets.token_hex(SECRET_BYTES).encode() + b"\n", mode=0o600)
        return path.read_text().strip()
    except OSError as error:
        raise ConfigError(f"{path} cannot be used: {error.strerror}; make {home} writable") from error
