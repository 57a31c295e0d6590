"""Users and the audit log, for admins: API and pages."""

import functools
from typing import Annotated, Literal

import anyio.to_thread
from fastapi import Path, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from recorder.web.access import Role, guarded, principal_of
from recorder.web.answers import cursors
from recorder.web.answers.encode import JSON, encoded
from recorder.web.answers.problems import Problem
from recorder.web.forms import Document, fields
from recorder.web.security import users
from recorder.web.state import web_of
from recorder.web.templates import render

RoleName = Literal["viewer", "analyst", "admin"]
Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._@-]{0,63}$", description="Of the user.")]

router = guarded(Role.admin, prefix="/api/v1", tags=["users"])
pages = guarded(Role.admin, include_in_schema=False)

_AUDIT = (
    "SELECT audit_id, at, name, address, action, object, outcome FROM audit_log "
    "WHERE (%s::bigint IS NULL OR audit_id < %s) AND (%s::text IS NULL OR name = %s) "
    "AND (%s::text IS NULL OR outcome = %s) ORDER BY audit_id DESC LIMIT %s"
)
_AUDIT_COLUMNS = ("audit_id", "at", "name", "address", "action", "object", "outcome")


class NewUser(Document):
    """A user to add."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._@-]{0,63}$")
    role: RoleName
    password: str = Field(min_length=10, max_length=256)


class UserChange(Document):
    """What is changed of a user; what is left out stays."""

    role: RoleName | None = None
    password: str | None = Field(None, min_length=10, max_length=256)
    active: bool | None = None


@router.get("/users", summary="All users")
def list_users(request: Request) -> Response:
    """Return users without their passwords."""
    with web_of(request).users_pool.transaction() as cursor:
        found = users.everyone(cursor)
    items = [
        {"name": one.name, "role": one.role.name, "active": one.active, "created_at": one.created_at,
         "last_login_at": one.last_login_at}
        for one in found
    ]  # fmt: skip
    return Response(encoded({"items": items, "next": None}), media_type=JSON)


@router.post("/users", summary="Add a user", status_code=201)
def add_user(request: Request, given: NewUser) -> Response:
    """Add a user."""
    by = principal_of(request).name
    web_of(request).accounts.add_user(by, _address(request), given.name, Role[given.role], given.password)
    return Response(encoded({"name": given.name, "role": given.role}), 201, media_type=JSON)


@router.patch("/users/{name}", summary="Change a user", status_code=204)
def change_user(request: Request, name: Name, given: UserChange) -> Response:
    """Change role, password or whether the user may log in. All logins of the user end."""
    web_of(request).accounts.change_user(
        principal_of(request).name, _address(request), name, role=None if given.role is None else Role[given.role],
        password=given.password, active=given.active,
    )  # fmt: skip
    return Response(status_code=204)


@router.get("/audit", summary="The audit log")
def list_audit(
    request: Request,
    name: Annotated[str | None, Query(max_length=64, description="Only this user.")] = None,
    outcome: Annotated[Literal["done", "refused", "failed"] | None, Query(description="Only this outcome.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Rows of a page.")] = 100,
    after: Annotated[str | None, Query(max_length=2000, description="`next` of the page before.")] = None,
) -> Response:
    """Return who did what, the newest first."""
    items, following = _audit(request, name, outcome, limit, after)
    return Response(encoded({"items": items, "next": following}), media_type=JSON)


@pages.get("/users")
def users_page(request: Request, error: Annotated[str, Query(max_length=300)] = "") -> Response:
    """Return the page of users and logins."""
    with web_of(request).users_pool.transaction() as cursor:
        everyone, sessions = users.everyone(cursor), users.sessions(cursor, None)
    return render(request, "users.html", users=everyone, sessions=sessions, error=error, roles=[r.name for r in Role])


@pages.post("/users")
async def users_form(request: Request) -> Response:
    """Add or change a user, or end a login, by a form; problems are shown on the page."""
    web, by = web_of(request), principal_of(request)
    form = await fields(request)
    name, action, role = form.get("name", "").strip().lower(), form.get("action", ""), form.get("role", "")
    chosen = Role.__members__.get(role)
    match action:
        case "add" if chosen is not None:
            work = functools.partial(
                web.accounts.add_user, by.name, _address(request), name, chosen, form.get("password", "")
            )
        case "role" if chosen is not None:
            work = functools.partial(web.accounts.change_user, by.name, _address(request), name, role=chosen)
        case "activate" | "deactivate":
            work = functools.partial(
                web.accounts.change_user, by.name, _address(request), name, active=action == "activate"
            )
        case "revoke":
            work = functools.partial(web.accounts.revoke, by, _address(request), form.get("session", "")[:64])
        case _:
            raise Problem(422, "the form has no such action", kind="invalid")
    try:
        await anyio.to_thread.run_sync(work)
    except Problem as problem:
        if problem.status not in (404, 422):
            raise
        with_faults = await anyio.to_thread.run_sync(functools.partial(users_page, request, problem.detail))
        with_faults.status_code = problem.status
        return with_faults
    return RedirectResponse("/users", 303)


@pages.get("/audit")
def audit_page(
    request: Request,
    name: Annotated[str, Query(max_length=64)] = "",
    outcome: Annotated[Literal["", "done", "refused", "failed"], Query()] = "",
    after: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """Return the page of the audit log."""
    items, following = _audit(request, name or None, outcome or None, 100, after)
    return render(request, "audit.html", items=items, next=following, name=name, outcome=outcome)


def _audit(
    request: Request, name: str | None, outcome: str | None, limit: int, after: str | None
) -> tuple[list[dict[str, object]], str | None]:
    web = web_of(request)
    if name is not None and "\0" in name:
        raise Problem(422, "a filter has a zero character", kind="invalid")
    key, question = web.keys.of("cursors"), f"audit {name} {outcome}"
    place = None if after is None else cursors.read(key, question, after, 1)[0]
    with web.users_pool.transaction() as cursor:
        cursor.execute(_AUDIT, (place, place, name, name, outcome, outcome, limit + 1))
        found = cursor.fetchall()
    following = cursors.make(key, question, [found[limit - 1][0]]) if len(found) > limit else None
    return [dict(zip(_AUDIT_COLUMNS, row, strict=True)) for row in found[:limit]], following


def _address(request: Request) -> str:
    return str(request.scope["state"].get("client", ""))
