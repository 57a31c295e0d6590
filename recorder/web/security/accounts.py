"""Logging in and out: users, tokens and sessions put together over the connections of the role tapedeck_web."""

import time
from typing import NamedTuple

from recorder.errors import ConfigError, StoreError
from recorder.process.log import get_logger
from recorder.settings import Settings
from recorder.web.access import Principal, Role
from recorder.web.answers.problems import Problem
from recorder.web.queries.pool import Pool
from recorder.web.rates import RateLimit
from recorder.web.security import setup, users
from recorder.web.security.keys import Keys
from recorder.web.security.passwords import Busy, Passwords
from recorder.web.security.tokens import ACCESS_S, Tokens
from recorder.web.security.users import Kind, Outcome

TRIES_PER_MINUTE = 5
_PRUNE_S = 86_400.0

_log = get_logger(__name__)


class Login(NamedTuple):
    """What a client gets after a login or a refresh."""

    access: str
    refresh: str
    principal: Principal


class Accounts:
    """Users and their logins. Any thread may call it."""

    def __init__(self, settings: Settings, pool: Pool, keys: Keys, tokens: Tokens) -> None:
        self._settings = settings
        self._pool = pool
        self._tokens = tokens
        self._refresh_key = keys.of("refresh")
        self._lasts_s = settings.web.session_minutes * 60
        self._passwords = Passwords()
        self._tries = RateLimit(TRIES_PER_MINUTE)
        self._denied: frozenset[str] = frozenset()
        self._pruned_s = time.monotonic() - _PRUNE_S

    def denied(self, principal: Principal) -> bool:
        """Return whether the login of an access token was ended before the token expires."""
        return principal.session in self._denied

    def log_in(self, name: str, password: str, kind: Kind, address: str, agent: str) -> Login:
        """Begin a login.

        Raises:
            Problem: the name or the password is wrong, or there were too many tries.
            StoreUnavailable: Postgres is away.
        """
        name = name.strip().lower()[:64]
        for client in (f"name {name}", f"address {address}"):
            verdict = self._tries.take(client)
            if not verdict.allowed:
                raise Problem(429, f"too many tries; try again in {verdict.retry_s} s",
                              headers={"Retry-After": str(verdict.retry_s)})  # fmt: skip
        with self._pool.transaction() as cursor:
            user = users.find(cursor, name)
        try:
            usable = user is not None and user.active
            fits = self._passwords.check(user.password_hash if user is not None and usable else None, password)
        except Busy:
            raise Problem(503, "too many logins at this moment; try again", headers={"Retry-After": "2"}) from None
        if not fits or user is None:
            self.note(name, address, "login", outcome="failed")
            raise Problem(401, "the name or the password is wrong", headers={"WWW-Authenticate": "Bearer"})
        fresh = self._passwords.make(password) if self._passwords.outdated(user.password_hash) else None
        with self._pool.transaction() as cursor:
            if fresh is not None:
                users.rehash(cursor, user, fresh)
            session, refresh = users.log_in(cursor, self._refresh_key, user, kind, self._lasts_s, address, agent)
            users.note(cursor, name, address, "login", kind)
        return self._login(user.name, user.role, session, refresh)

    def refresh(self, token: str, address: str) -> Login | None:
        """Use a refresh token; None where it is not valid. A used one ends its login."""
        with self._pool.transaction() as cursor:
            found = users.renew(cursor, self._refresh_key, token, self._lasts_s)
            if isinstance(found, str):
                users.note(cursor, users.owner_of(cursor, found) or "", address, "refresh", "used twice", "refused")
        if isinstance(found, str):
            self._deny([found])
            return None
        if found is None:
            return None
        return self._login(found.user.name, found.user.role, found.session_id, found.token)

    def log_out(self, principal: Principal, address: str) -> None:
        """End the login of a token."""
        with self._pool.transaction() as cursor:
            users.revoke(cursor, principal.session, "logout")
            users.note(cursor, principal.name, address, "logout")
        self._deny([principal.session])

    def set_up(self, token: str, name: str, password: str, address: str) -> None:
        """Add the first admin, for whoever has the set-up link.

        Raises:
            Problem: the link is not valid any more, or the name or password cannot be used.
        """
        if not self._tries.take(f"setup {address}").allowed:
            raise Problem(429, "too many tries; try again in a minute", headers={"Retry-After": "60"})
        if not setup.fits(self._settings.home, token):
            raise Problem(403, "this link is not valid any more; `tapedeck users link` prints a new one")
        try:
            hashed = self._hashed(users.require_name(name.strip().lower()), password)
            with self._pool.transaction() as cursor:
                if not users.add_first(cursor, name.strip().lower(), hashed):
                    raise Problem(403, "there are users already; ask an admin, or run `tapedeck users add`")
                users.note(cursor, name.strip().lower(), address, "user.add", "first admin, by the set-up link")
        except ConfigError as error:
            raise Problem(422, str(error), kind="invalid") from None
        setup.remove(self._settings.home)

    def add_user(self, by: str, address: str, name: str, role: Role, password: str) -> None:
        """Add a user.

        Raises:
            Problem: the name is taken, or name or password cannot be used.
        """
        try:
            hashed = self._hashed(users.require_name(name), password)
            with self._pool.transaction() as cursor:
                users.add(cursor, name, role, hashed)
                users.note(cursor, by, address, "user.add", f"{name} {role.name}")
        except ConfigError as error:
            raise Problem(422, str(error), kind="invalid") from None

    def change_user(
        self,
        by: str,
        address: str,
        name: str,
        *,
        role: Role | None = None,
        password: str | None = None,
        active: bool | None = None,
    ) -> None:
        """Change a user and end the logins of that user.

        Raises:
            Problem: there is no such user, no admin would be left, or the password cannot be used.
        """
        what = [name, *([role.name] if role else []), *(["password"] if password else [])]
        what += [] if active is None else ["active" if active else "inactive"]
        try:
            hashed = None if password is None else self._hashed(name, password)
            with self._pool.transaction() as cursor:
                ended = users.change(cursor, name, role=role, password_hash=hashed, active=active)
                users.note(cursor, by, address, "user.change", " ".join(what))
        except ConfigError as error:
            raise Problem(422, str(error), kind="invalid") from None
        self._deny(ended)

    def revoke(self, by: Principal, address: str, session_id: str) -> None:
        """End a login: one's own, or as admin any.

        Raises:
            Problem: there is no such login of this user.
        """
        with self._pool.transaction() as cursor:
            owner = users.owner_of(cursor, session_id)
            if owner is None or (owner != by.name and by.role is not Role.admin):
                raise Problem(404, "there is no such login of yours; GET /api/v1/auth/sessions lists them")
            users.revoke(cursor, session_id, "revoked")
            users.note(cursor, by.name, address, "session.revoke", f"{owner} {session_id[:8]}")
        self._deny([session_id])

    def note(self, name: str, address: str, action: str, what: str = "", outcome: Outcome = "done") -> None:
        """Write a row of the audit log.

        Raises:
            StoreUnavailable: Postgres is away; what was to be noted must not happen then.
        """
        with self._pool.transaction() as cursor:
            users.note(cursor, name, address, action, what, outcome)

    def look(self) -> None:
        """Learn which logins were ended by other programs; called every few seconds."""
        try:
            with self._pool.transaction() as cursor:
                self._denied = frozenset(users.recently_revoked(cursor, ACCESS_S + 60))
                has_user = users.any_user(cursor)
                if time.monotonic() - self._pruned_s >= _PRUNE_S:
                    cursor.execute("SELECT prune_audit()")
                    self._pruned_s = time.monotonic()
            if has_user:
                setup.remove(self._settings.home)
            else:
                setup.make(self._settings.home)
        except (StoreError, ConfigError) as error:
            _log.debug("accounts.unknown", reason=str(error))

    def _deny(self, sessions: list[str]) -> None:
        self._denied = self._denied | frozenset(sessions)

    def _hashed(self, _name: str, password: str) -> str:
        try:
            return self._passwords.make(password)
        except Busy:
            raise Problem(503, "too many logins at this moment; try again", headers={"Retry-After": "2"}) from None

    def _login(self, name: str, role: Role, session: str, refresh: str) -> Login:
        expires = time.time() + ACCESS_S
        return Login(self._tokens.make(name, role, session), refresh, Principal(name, role, session, False, expires))
