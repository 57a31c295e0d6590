"""Tokens and logins for programs: /api/v1/auth."""

from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from recorder.web.access import Role, guarded, principal_of
from recorder.web.answers.encode import JSON, encoded
from recorder.web.answers.problems import Problem
from recorder.web.forms import Document
from recorder.web.security import users
from recorder.web.security.accounts import Login
from recorder.web.security.tokens import ACCESS_S
from recorder.web.state import web_of

router = guarded(None, prefix="/api/v1/auth", tags=["users"])
own = guarded(Role.viewer, named=True, prefix="/api/v1/auth", tags=["users"])


class Credentials(Document):
    """Name and password."""

    name: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=256)


class RefreshToken(Document):
    """A refresh token, which is valid once."""

    refresh_token: str = Field(min_length=1, max_length=256)


class TokenView(BaseModel):
    """Tokens of a login."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    name: str
    role: str


@router.post("/token", summary="Log in", response_model=TokenView)
def token(request: Request, given: Credentials) -> Response:
    """Return an access token for 15 minutes, and a refresh token for the next one. Five tries a minute."""
    agent = request.headers.get("user-agent", "")
    return _tokens(web_of(request).accounts.log_in(given.name, given.password, "api", _address(request), agent))


@router.post("/refresh", summary="Use a refresh token", response_model=TokenView)
def refresh(request: Request, given: RefreshToken) -> Response:
    """Return new tokens. A refresh token that is used a second time ends the login: it may have been stolen."""
    found = web_of(request).accounts.refresh(given.refresh_token, _address(request))
    if found is None:
        raise Problem(401, "this refresh token is not valid; log in", headers={"WWW-Authenticate": "Bearer"})
    return _tokens(found)


@own.get("/me", summary="Who asks")
def me(request: Request) -> Response:
    """Return name and role."""
    principal = principal_of(request)
    return Response(encoded({"name": principal.name, "role": principal.role.name}), media_type=JSON)


@own.post("/logout", summary="End this login", status_code=204)
def logout(request: Request) -> Response:
    """End the login that the token belongs to."""
    web_of(request).accounts.log_out(principal_of(request), _address(request))
    return Response(status_code=204)


@own.get("/sessions", summary="Own logins; those of all users for an admin")
def sessions(request: Request) -> Response:
    """Return the logins that go on."""
    principal = principal_of(request)
    with web_of(request).users_pool.transaction() as cursor:
        found = users.sessions(cursor, None if principal.role is Role.admin else principal.name)
    return Response(encoded({"items": [one._asdict() for one in found]}), media_type=JSON)


@own.delete("/sessions/{session_id}", summary="End a login", status_code=204)
def revoke(
    request: Request, session_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Of /sessions.")]
) -> Response:
    """End one of one's own logins; an admin ends any. Tokens of it are refused from then on."""
    web_of(request).accounts.revoke(principal_of(request), _address(request), session_id)
    return Response(status_code=204)


def _tokens(login: Login) -> Response:
    document = {
        "access_token": login.access,
        "refresh_token": login.refresh,
        "token_type": "Bearer",
        "expires_in": ACCESS_S,
        "name": login.principal.name,
        "role": login.principal.role.name,
    }
    return Response(encoded(document), media_type=JSON)


def _address(request: Request) -> str:
    return str(request.scope["state"].get("client", ""))
