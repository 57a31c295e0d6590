"""Passwords: argon2id hashes, a bound on work at once, and the same work for an unknown name."""

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from recorder.errors import ConfigError

LEAST, MOST = 10, 256  # characters
AT_ONCE = 2  # each takes 64 MiB and a core for 0.1 s
WAIT_S = 5.0


class Busy(Exception):
    """Too many passwords are being checked."""


class Passwords:
    """Makes and checks hashes. Any thread may call it; the bound is held inside the thread that does the work."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._free = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._nobody = ""

    def make(self, password: str) -> str:
        """Return the hash of a password.

        Raises:
            ConfigError: it is too short or too long.
            Busy: too many are at work.
        """
        if not LEAST <= len(password) <= MOST:
            raise ConfigError(f"a password has {LEAST} to {MOST} characters; choose another one")
        with self._turn():
            return self._hasher.hash(password)

    def check(self, stored: str | None, password: str) -> bool:
        """Return whether a password fits; takes as long for a name that is not known.

        Args:
            stored: Hash of the user; None for an unknown name.
            password: As it was typed.

        Raises:
            Busy: too many are at work.
        """
        if len(password) > MOST:
            return False
        with self._turn():
            try:
                fits = self._hasher.verify(stored or self._hash_of_nobody(), password)
            except (VerificationError, InvalidHashError):
                return False
        return fits and stored is not None

    def outdated(self, stored: str) -> bool:
        """Return whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _hash_of_nobody(self) -> str:
        with self._lock:
            if not self._nobody:
                self._nobody = self._hasher.hash("a password that belongs to no user")
            return self._nobody

    def _turn(self) -> "_Turn":
        return _Turn(self._free)


class _Turn:
    def __init__(self, free: threading.BoundedSemaphore) -> None:
        self._free = free

    def __enter__(self) -> None:
        if not self._free.acquire(timeout=WAIT_S):
            raise Busy

    def __exit__(self, *_exception: object) -> None:
        self._free.release()
