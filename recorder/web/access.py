"""Who may do what: roles, and the rule that every router carries."""

from enum import IntEnum
from typing import Any, NamedTuple

from fastapi import APIRouter, Depends
from starlette.requests import HTTPConnection

from recorder.web.answers.problems import Problem


class Role(IntEnum):
    """What a user may do; each role may do what the ones before it may."""

    viewer = 1  # read pages and API
    analyst = 2  # export, and own alerts
    admin = 3  # users, sessions of others, the audit log


class Principal(NamedTuple):
    """Who asks."""

    name: str
    role: Role
    session: str = ""  # id of the login; empty for one without a session
    by_cookie: bool = False  # whether a browser sent the proof by itself
    expires: float = 0.0  # unix seconds; 0 for never

    @property
    def anonymous(self) -> bool:
        """Whether the request comes without a login."""
        return not self.name


ANYBODY = Principal("", Role.viewer)
"""Who asks without login where `web.public_read` is set."""


class Rule:
    """A dependency that lets only some ask. `least` is None where anybody may, for example to log in."""

    def __init__(self, least: Role | None, *, named: bool = False) -> None:
        """
        Args:
            least: The least role.
            named: Whether a login is needed even where `web.public_read` is set.
        """
        self.least = least
        self.named = named or (least is not None and least > Role.viewer)

    async def __call__(self, connection: HTTPConnection) -> None:
        """Refuse who may not.

        Raises:
            Problem: 401 without login, 403 with too low a role.
        """
        if self.least is None:
            return
        principal: Principal | None = connection.scope.get("state", {}).get("principal")
        if principal is None or (self.named and principal.anonymous):
            raise Problem(
                401, "log in first: /login, or POST /api/v1/auth/token", headers={"WWW-Authenticate": "Bearer"}
            )
        if principal.role < self.least:
            raise Problem(403, f"this needs the role {self.least.name}; you are {principal.role.name}")


def guarded(least: Role | None, *, named: bool = False, **options: Any) -> APIRouter:
    """Return a router whose every route requires a role; each file of `routes/` begins with one.

    Args:
        least: The least role; None lets anybody ask.
        named: Whether a login is needed even where `web.public_read` is set.
        options: As of APIRouter, such as prefix and tags.
    """
    return APIRouter(dependencies=[Depends(Rule(least, named=named))], **options)


def principal_of(connection: HTTPConnection) -> Principal:
    """Return who asks, for a route that a rule guards."""
    found = connection.scope.get("state", {}).get("principal")
    return found if isinstance(found, Principal) else ANYBODY
