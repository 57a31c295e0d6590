"""Pages of logging in: /login, /logout, /setup. They work without a script."""

import functools

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from recorder.web.access import guarded, principal_of
from recorder.web.answers.problems import Problem
from recorder.web.edge import ACCESS_COOKIE, REFRESH_COOKIE, cookie, cookie_name
from recorder.web.forms import fields, local_path
from recorder.web.security import setup
from recorder.web.security.accounts import Login
from recorder.web.security.tokens import ACCESS_S
from recorder.web.state import Web, web_of
from recorder.web.templates import render

router = guarded(None, include_in_schema=False)


@router.get("/login")
async def ask(request: Request, next: str = "/") -> Response:
    """Return the form, or go on where the browser still has a login."""
    web = web_of(request)
    token = cookie(request.headers, REFRESH_COOKIE, web.settings.web.secure)
    if token:
        found = await anyio.to_thread.run_sync(web.accounts.refresh, token, _address(request))
        if found is not None:
            return with_cookies(web, RedirectResponse(local_path(next), 303), found)
    pending = setup.pending(web.settings.home)
    return render(request, "login.html", next=local_path(next), name="", error="", pending=pending)


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Log in by a form."""
    web = web_of(request)
    form = await fields(request)
    target = local_path(form.get("next", "/"))
    name, password = form.get("name", ""), form.get("password", "")
    agent = request.headers.get("user-agent", "")
    try:
        found = await anyio.to_thread.run_sync(
            functools.partial(web.accounts.log_in, name, password, "page", _address(request), agent)
        )
    except Problem as problem:
        if problem.status not in (401, 429):
            raise
        page = render(
            request, "login.html", problem.status, next=target, name=name[:64], error=problem.detail, pending=False
        )
        page.headers.update({key: value for key, value in problem.headers.items() if key == "Retry-After"})
        return page
    return with_cookies(web, RedirectResponse(target, 303), found)


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """End the login of this browser."""
    web, principal = web_of(request), principal_of(request)
    if principal.session:
        await anyio.to_thread.run_sync(web.accounts.log_out, principal, _address(request))
    reply = RedirectResponse("/login", 303)
    for name in (ACCESS_COOKIE, REFRESH_COOKIE):
        reply.delete_cookie(cookie_name(name, web.settings.web.secure), path="/", secure=web.settings.web.secure,
                            httponly=True, samesite="strict")  # fmt: skip
    return reply


@router.get("/setup")
async def show_setup(request: Request, token: str = "") -> Response:
    """Return the form that makes the first admin."""
    web = web_of(request)
    valid = await anyio.to_thread.run_sync(setup.fits, web.settings.home, token[:128])
    if not valid:
        raise Problem(403, "this link is not valid any more; `tapedeck users link` prints one while there is no user")
    return render(request, "setup.html", token=token[:128], name="", error="")


@router.post("/setup")
async def set_up(request: Request) -> Response:
    """Make the first admin, and go to the login."""
    web = web_of(request)
    form = await fields(request)
    token, name = form.get("token", "")[:128], form.get("name", "")
    try:
        await anyio.to_thread.run_sync(web.accounts.set_up, token, name, form.get("password", ""), _address(request))
    except Problem as problem:
        if problem.status != 422:
            raise
        return render(request, "setup.html", 422, token=token, name=name[:64], error=problem.detail)
    return RedirectResponse("/login", 303)


def with_cookies(web: Web, reply: Response, login: Login) -> Response:
    """Give a browser its tokens in cookies that no script can read and no other site can send."""
    secure = web.settings.web.secure
    for name, value, lasts_s in (
        (ACCESS_COOKIE, login.access, ACCESS_S),
        (REFRESH_COOKIE, login.refresh, web.settings.web.session_minutes * 60),
    ):
        reply.set_cookie(
            cookie_name(name, secure), value, max_age=lasts_s, path="/", secure=secure, httponly=True, samesite="strict"
        )
    return reply


def _address(request: Request) -> str:
    return str(request.scope["state"].get("client", ""))
