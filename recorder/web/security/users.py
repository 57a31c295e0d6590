"""Users, their logins and the audit log: the tables that only the role tapedeck_web may use."""

import hashlib
import hmac
import re
import secrets
from datetime import datetime
from typing import Literal, NamedTuple

from recorder.errors import ConfigError
from recorder.printable import printable
from recorder.store.database import Cursor
from recorder.web.access import Role

Kind = Literal["page", "api", "command"]
Outcome = Literal["done", "refused", "failed"]
GRACE_S = 10
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")


class User(NamedTuple):
    """A row of app_user."""

    user_id: int
    name: str
    role: Role
    password_hash: str
    active: bool
    created_at: datetime
    last_login_at: datetime | None


class Session(NamedTuple):
    """A login, for people."""

    session_id: str
    name: str
    kind: str
    created_at: datetime
    rotated_at: datetime
    expires_at: datetime
    address: str
    agent: str
    revoked_at: datetime | None
    revoke_reason: str | None


class Renewed(NamedTuple):
    """What a refresh token gave."""

    user: User
    session_id: str
    token: str  # the next refresh token


_USER = "SELECT user_id, name, role, password_hash, active, created_at, last_login_at FROM app_user"
_SESSION = """
SELECT s.session_id, u.name, s.kind, s.created_at, s.rotated_at, s.expires_at, s.address, s.agent, s.revoked_at,
       s.revoke_reason
  FROM app_session s JOIN app_user u ON u.user_id = s.user_id"""


def require_name(name: str) -> str:
    """Return a name of a user.

    Raises:
        ConfigError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError("a name has 1 to 64 of the characters a-z 0-9 . _ @ - and begins with a letter or a digit")
    return name


def find(cursor: Cursor, name: str) -> User | None:
    """Return a user; None where there is none."""
    cursor.execute(f"{_USER} WHERE name = %s", (name[:64],))
    row = cursor.fetchone()
    return None if row is None else _user(row)


def everyone(cursor: Cursor) -> list[User]:
    """Return all users by name, at most 1,000."""
    cursor.execute(f"{_USER} ORDER BY name LIMIT 1000")
    return [_user(row) for row in cursor.fetchall()]


def any_user(cursor: Cursor) -> bool:
    """Return whether there is a user who may log in."""
    cursor.execute("SELECT EXISTS (SELECT FROM app_user WHERE active)")
    row = cursor.fetchone()
    return row is not None and bool(row[0])


def add(cursor: Cursor, name: str, role: Role, password_hash: str) -> None:
    """Add a user.

    Raises:
        ConfigError: the name is taken or is none.
    """
    cursor.execute(
        "INSERT INTO app_user (name, role, password_hash) VALUES (%s, %s, %s) ON CONFLICT (name) DO NOTHING",
        (require_name(name), role.name, password_hash),
    )
    if not cursor.rowcount:
        raise ConfigError(f"there is a user {name} already; choose another name")


def add_first(cursor: Cursor, name: str, password_hash: str) -> bool:
    """Add the first admin; return False where there is a user already. Two at once cannot both be the first."""
    cursor.execute("LOCK TABLE app_user IN SHARE ROW EXCLUSIVE MODE")
    if any_user(cursor):
        return False
    add(cursor, name, Role.admin, password_hash)
    return True


def change(
    cursor: Cursor,
    name: str,
    *,
    role: Role | None = None,
    password_hash: str | None = None,
    active: bool | None = None,
) -> list[str]:
    """Change a user, and end the logins of that user.

    Returns:
        The ids of the logins that were ended.

    Raises:
        ConfigError: there is no such user, or no admin would be left.
    """
    cursor.execute("LOCK TABLE app_user IN SHARE ROW EXCLUSIVE MODE")
    user = find(cursor, name)
    if user is None:
        raise ConfigError(f"there is no user {printable(name[:64])}; `tapedeck users list` lists them")
    loses = user.role is Role.admin and user.active and (active is False or role not in (None, Role.admin))
    if loses:
        cursor.execute("SELECT count(*) FROM app_user WHERE role = 'admin' AND active AND name <> %s", (name,))
        row = cursor.fetchone()
        if row is None or row[0] == 0:
            raise ConfigError(f"{name} is the last admin; make another user admin first")
    cursor.execute(
        "UPDATE app_user SET role = coalesce(%s, role), password_hash = coalesce(%s, password_hash), "
        "active = coalesce(%s, active), changed_at = now() WHERE user_id = %s",
        (None if role is None else role.name, password_hash, active, user.user_id),
    )
    return revoke_all(cursor, name, "user changed")


def rehash(cursor: Cursor, user: User, password_hash: str) -> None:
    """Replace the hash of a password by one of today's parameters."""
    cursor.execute("UPDATE app_user SET password_hash = %s WHERE user_id = %s", (password_hash, user.user_id))


def log_in(
    cursor: Cursor, key: bytes, user: User, kind: Kind, lasts_s: int, address: str, agent: str
) -> tuple[str, str]:
    """Begin a login.

    Returns:
        Its id, and its first refresh token.
    """
    session_id = secrets.token_hex(16)
    token = _token(key, session_id)
    cursor.execute(
        "INSERT INTO app_session (session_id, user_id, kind, token_hash, expires_at, address, agent) "
        "VALUES (%s, %s, %s, %s, now() + %s * interval '1 second', %s, %s)",
        (session_id, user.user_id, kind, _hash(token), lasts_s, address[:64], printable(agent)[:200]),
    )
    cursor.execute("UPDATE app_user SET last_login_at = now() WHERE user_id = %s", (user.user_id,))
    cursor.execute("DELETE FROM app_session WHERE expires_at < now() - interval '30 days'")
    return session_id, token


def renew(cursor: Cursor, key: bytes, token: str, lasts_s: int) -> Renewed | str | None:
    """Use a refresh token, which is valid once.

    Returns:
        The next one; the id of the login where the token was used before, which has ended the login; None where it is
        not valid.
    """
    session_id = _genuine(key, token)
    if session_id is None:
        return None
    cursor.execute(
        "SELECT token_hash, previous_hash, rotated_at > now() - %s * interval '1 second', user_id "
        "FROM app_session WHERE session_id = %s AND revoked_at IS NULL AND expires_at > now() FOR UPDATE",
        (GRACE_S, session_id),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    current, previous, recent, user_id = row
    given = _hash(token)
    if given != bytes(current) and not (recent and previous is not None and given == bytes(previous)):
        revoke(cursor, session_id, "reuse")
        return session_id
    cursor.execute(f"{_USER} WHERE user_id = %s AND active", (user_id,))
    found = cursor.fetchone()
    if found is None:
        return None
    fresh = _token(key, session_id)
    cursor.execute(
        "UPDATE app_session SET previous_hash = token_hash, token_hash = %s, rotated_at = now(), "
        "expires_at = now() + %s * interval '1 second' WHERE session_id = %s",
        (_hash(fresh), lasts_s, session_id),
    )
    return Renewed(_user(found), session_id, fresh)


def revoke(cursor: Cursor, session_id: str, reason: str) -> bool:
    """End a login; return whether it was going on."""
    cursor.execute(
        "UPDATE app_session SET revoked_at = now(), revoke_reason = %s WHERE session_id = %s AND revoked_at IS NULL",
        (reason, session_id),
    )
    return bool(cursor.rowcount)


def revoke_all(cursor: Cursor, name: str, reason: str) -> list[str]:
    """End all logins of a user; return their ids."""
    cursor.execute(
        "UPDATE app_session SET revoked_at = now(), revoke_reason = %s WHERE revoked_at IS NULL "
        "AND user_id = (SELECT user_id FROM app_user WHERE name = %s) RETURNING session_id",
        (reason, name),
    )
    return [str(row[0]) for row in cursor.fetchall()]


def sessions(cursor: Cursor, name: str | None) -> list[Session]:
    """Return the logins that go on, of one user or of all, the newest first, at most 500."""
    cursor.execute(
        f"{_SESSION} WHERE s.revoked_at IS NULL AND s.expires_at > now() AND (%s IS NULL OR u.name = %s) "
        "ORDER BY s.rotated_at DESC LIMIT 500",
        (name, name),
    )
    return [Session(*row) for row in cursor.fetchall()]


def owner_of(cursor: Cursor, session_id: str) -> str | None:
    """Return the name of the user whose login this is; None where there is none."""
    cursor.execute(f"{_SESSION} WHERE s.session_id = %s", (session_id[:64],))
    row = cursor.fetchone()
    return None if row is None else str(row[1])


def recently_revoked(cursor: Cursor, within_s: float) -> list[str]:
    """Return the ids of logins that were ended so recently that access tokens of theirs may not have expired."""
    cursor.execute(
        "SELECT session_id FROM app_session WHERE revoked_at > now() - %s * interval '1 second' LIMIT 10000",
        (within_s,),
    )
    return [str(row[0]) for row in cursor.fetchall()]


def note(cursor: Cursor, name: str, address: str, action: str, what: str = "", outcome: Outcome = "done") -> None:
    """Write a row of the audit log."""
    cursor.execute(
        "INSERT INTO audit_log (name, address, action, object, outcome) VALUES (%s, %s, %s, %s, %s)",
        (printable(name)[:64], address[:64], action, printable(what)[:300], outcome),
    )


def _user(row: tuple[object, ...]) -> User:
    user = User(*row)  # type: ignore[arg-type]
    return user._replace(role=Role[str(row[2])])


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _token(key: bytes, session_id: str) -> str:
    """Return a new refresh token; its signature tells a used one from one that was never made."""
    body = f"{session_id}.{secrets.token_hex(32)}"
    return f"{body}.{hmac.digest(key, body.encode(), hashlib.sha256).hex()}"


def _genuine(key: bytes, token: str) -> str | None:
    """Return the id of the login that a token was made for; None where we did not make it."""
    body, _, mac = token.rpartition(".")
    if len(token) > 256 or not token.isascii():
        return None
    if not hmac.compare_digest(mac, hmac.digest(key, body.encode(), hashlib.sha256).hex()):
        return None
    return body.partition(".")[0]
