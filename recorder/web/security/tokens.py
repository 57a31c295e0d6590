"""Access tokens: short-lived, signed, checked without the database."""

import secrets
import time
from collections.abc import Callable

import jwt

from recorder.web.access import Principal, Role

ACCESS_S = 900
_AUDIENCE = "tapedeck"
_ALGORITHM = "HS256"
_REQUIRED = ["exp", "iat", "sub", "jti", "aud", "role"]


class Tokens:
    """Makes and reads access tokens."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def make(self, name: str, role: Role, session: str = "", lasts_s: int = ACCESS_S) -> str:
        """Return a token of a user.

        Args:
            name: Of the user.
            role: What the token allows.
            session: Id of the login.
            lasts_s: Seconds until it expires.
        """
        now = int(self._clock())
        claims = {
            "sub": name, "role": role.name, "sid": session, "aud": _AUDIENCE,
            "iat": now, "exp": now + lasts_s, "jti": secrets.token_hex(8),
        }  # fmt: skip
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def read(self, token: str, *, by_cookie: bool = False) -> Principal | None:
        """Return who a token stands for; None where it is wrong or has expired."""
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
            )
            expires = float(claims["exp"])
            role = Role[claims["role"]]
            name, session = claims["sub"], claims.get("sid", "")
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            return None
        if expires <= self._clock() or not isinstance(name, str) or not isinstance(session, str):
            return None
        return Principal(name, role, session, by_cookie, expires)
