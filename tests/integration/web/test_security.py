"""Who may do what: without token, with a wrong role, from another site, with a used or revoked login."""

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg2
import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute
from support.database_server import ROOT
from support.machine.ports import free_port
from support.web.browser import WatchedPage
from support.web.server import SECRET, RunningWeb
from support.workers.bars import rows

from recorder.settings import Settings
from recorder.web.access import Role, Rule
from recorder.web.app import make_app, routes
from recorder.web.security.keys import Keys
from recorder.web.security.tokens import Tokens

from .conftest import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

OPEN = {
    "/health", "/api/v1/pulse", "/static/{version}/{path:path}", "/favicon.ico", "/login", "/logout", "/setup",
    "/api/v1/auth/token", "/api/v1/auth/refresh", "/docs/problems",
}  # fmt: skip
"""All that may be asked without a login."""


def _rules(tmp_path: "Path") -> list[tuple[APIRoute, Rule]]:
    settings = Settings.load(None, {"TAPEDECK_HOME": str(tmp_path), "TAPEDECK_CONFIG": "live", "JWT_SECRET": SECRET})
    found = []
    for route in routes(make_app(settings)):
        assert isinstance(route, APIRoute | APIWebSocketRoute), f"{route} is not made by access.guarded"
        rules = [one.call for one in route.dependant.dependencies if isinstance(one.call, Rule)]
        assert len(rules) == 1, f"{route.path} has no rule"
        if isinstance(route, APIRoute):  # a handshake is refused by the stream itself: live/test_stream.py
            found.append((route, rules[0]))
    return found


def _path(route: APIRoute) -> str:
    values = {
        "name": "viewer",
        "session_id": "0" * 32,
        "what": "trades",
        "symbol": "BTC/USD",
        "instrument": "kraken:BTC/USD",
    }
    return re.sub(r"{(\w+)(?::\w+)?}", lambda found: values.get(found[1], "x"), route.path)


def test_every_route_has_a_rule_and_only_these_are_open(tmp_path: "Path") -> None:
    found = _rules(tmp_path)
    assert {route.path for route, rule in found if rule.least is None} <= OPEN
    assert len(found) > 40


def test_every_route_refuses_without_token_with_a_wrong_one_and_with_too_low_a_role(
    web: RunningWeb, tokens: dict[str, str], tmp_path: "Path"
) -> None:
    wrong = Tokens(Keys(b"another secret that has more than 32 bytes").tokens).make("admin", Role.admin)
    expired = Tokens(Keys(SECRET.encode()).tokens, clock=lambda: 1_000_000_000.0).make("admin", Role.admin)
    for route, rule in _rules(tmp_path):
        if rule.least is None:
            continue
        for method in sorted(route.methods or ()):
            for token in ("", wrong, expired, "x.y.z"):
                assert web.ask(method, _path(route), None, token).status == 401, (method, route.path)
            if rule.least > Role.viewer:
                lower = tokens[Role(rule.least - 1).name]
                assert web.ask(method, _path(route), None, lower).status == 403, (method, route.path)


def test_the_algorithm_none_and_a_missing_claim_are_refused(web: RunningWeb) -> None:
    import jwt

    claims = {"sub": "admin", "role": "admin", "aud": "tapedeck", "iat": 1, "exp": 9_999_999_999, "jti": "x"}
    key = Keys(SECRET.encode()).tokens
    unsigned = jwt.encode(claims, "", algorithm="none")
    for token in (unsigned, *(jwt.encode({k: v for k, v in claims.items() if k != gone}, key) for gone in claims)):
        assert web.get("/api/v1/gaps", token).status == 401
    assert web.get("/api/v1/gaps", jwt.encode(claims, key)).status == 200


def test_another_site_can_neither_write_nor_use_another_name_of_this_machine(
    web: RunningWeb, tokens: dict[str, str]
) -> None:
    other = "https://evil.example"
    body = {"name": "viewer", "password": PASSWORD}
    assert web.post("/api/v1/auth/token", body, Origin=other).status == 403
    assert web.form("/login", body, origin=other).status == 403
    assert (
        web.ask("DELETE", f"/api/v1/auth/sessions/{'0' * 32}", None, tokens["viewer"], {"Origin": other}).status == 403
    )
    assert web.get("/health", Host="evil.example").status == 421
    assert web.form("/logout", {}, origin="", cookie="tapedeck=x").status == 403  # a cookie needs our own Origin
    assert web.form("/login", body, origin="null", sec_fetch_site="cross-site").status == 403
    answer = web.get("/health", Origin=other)
    assert "access-control-allow-origin" not in answer.headers


def test_answers_carry_the_headers_that_keep_a_page_to_itself(web: RunningWeb) -> None:
    for path in ("/login", "/health", "/nothing"):
        headers = web.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_a_refresh_token_is_valid_once_and_its_reuse_ends_the_login(
    web: RunningWeb, tokens: dict[str, str], web_database: str
) -> None:
    first = web.post("/api/v1/auth/token", {"name": "analyst", "password": PASSWORD}).json
    second = web.post("/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]}).json
    assert web.get("/api/v1/auth/me", second["access_token"]).json == {"name": "analyst", "role": "analyst"}
    rows(web_database, "UPDATE app_session SET rotated_at = rotated_at - interval '1 minute'")
    assert web.post("/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]}).status == 401
    assert web.post("/api/v1/auth/refresh", {"refresh_token": second["refresh_token"]}).status == 401
    assert web.get("/api/v1/auth/me", second["access_token"]).status == 401
    ((action, outcome),) = rows(web_database, "SELECT action, outcome FROM audit_log WHERE outcome = 'refused'")
    assert (action, outcome) == ("refresh", "refused")
    stored = rows(web_database, "SELECT token_hash, password_hash FROM app_session JOIN app_user USING (user_id)")
    assert first["refresh_token"].encode() not in [bytes(row[0]) for row in stored]


def test_a_wrong_password_is_refused_five_times_a_minute_and_noted(
    web: RunningWeb, tokens: dict[str, str], web_database: str
) -> None:
    answers = [web.post("/api/v1/auth/token", {"name": "no-such", "password": "x"}) for _ in range(7)]
    assert {answer.status for answer in answers} == {401, 429}
    assert answers[-1].status == 429
    assert int(answers[-1].headers["retry-after"]) > 0
    assert rows(web_database, "SELECT count(*) FROM audit_log WHERE name = 'no-such' AND outcome = 'failed'")[0][0] >= 1


def test_the_reader_of_notebooks_and_pages_cannot_read_users_logins_and_audit(web_database: str) -> None:
    connection = psycopg2.connect(web_database)
    with connection.cursor() as cursor:
        for table in ("app_user", "app_session", "audit_log"):
            cursor.execute("SET ROLE tapedeck_reader")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(f"SELECT * FROM {table}")
            connection.rollback()
            cursor.execute("SET ROLE tapedeck_web")
            cursor.execute(f"SELECT * FROM {table}")
            for statement in ("DELETE FROM audit_log", "UPDATE audit_log SET name = ''", "DELETE FROM app_user"):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(statement)
                connection.rollback()
                cursor.execute("SET ROLE tapedeck_web")
    connection.close()


def test_an_admin_adds_changes_and_ends_users_and_the_last_admin_stays(
    web: RunningWeb, tokens: dict[str, str], web_database: str
) -> None:
    admin = tokens["admin"]
    added = web.post("/api/v1/users", {"name": "temp", "role": "viewer", "password": PASSWORD}, admin)
    assert added.status == 201
    assert web.post("/api/v1/users", {"name": "temp", "role": "viewer", "password": PASSWORD}, admin).status == 422
    maker = Tokens(Keys(SECRET.encode()).tokens)
    rows(web_database, "INSERT INTO app_session (session_id, user_id, kind, token_hash, expires_at, address, agent) "
         "SELECT repeat('a', 32), user_id, 'api', sha256('x'), now() + interval '1 h', '', '' FROM app_user "
         "WHERE name = 'temp'")  # fmt: skip
    token = maker.make("temp", Role.viewer, "a" * 32)
    assert web.get("/api/v1/gaps", token).status == 200
    assert web.ask("PATCH", "/api/v1/users/temp", b'{"active": false}', admin,
                   {"Content-Type": "application/json"}).status == 204  # fmt: skip
    assert web.get("/api/v1/gaps", token).status == 401  # at once, though the token has not expired
    last = web.ask("PATCH", "/api/v1/users/admin", b'{"role": "viewer"}', admin, {"Content-Type": "application/json"})
    assert (last.status, "last admin" in last.json["detail"]) == (422, True)
    actions = [item["action"] for item in web.get("/api/v1/audit?name=admin", admin).json["items"]]
    assert actions[:2] == ["user.change", "user.add"]


def test_the_first_admin_is_made_by_a_link_that_works_once(database: str, tmp_path: "Path") -> None:
    own = RunningWeb(tmp_path / "home", database)
    took_s = own.start()
    try:
        file = own.home / "web" / "setup"
        for _ in range(100):
            if file.exists():
                break
            own.get("/health")
        token = file.read_text().strip()
        assert file.stat().st_mode & 0o777 == 0o600
        assert own.get("/setup?token=wrong").status == 403
        assert own.get(f"/setup?token={token}").status == 200
        made = own.form("/setup", {"token": token, "name": "root", "password": PASSWORD})
        assert (made.status, made.headers["location"]) == (303, "/login")
        assert own.form("/setup", {"token": token, "name": "other", "password": PASSWORD}).status == 403
        entered = own.form("/login", {"name": "root", "password": PASSWORD, "next": "//evil.example"})
        assert (entered.status, entered.headers["location"]) == (303, "/")
        assert set(entered.cookies) == {"tapedeck", "tapedeck-refresh"}
        assert "httponly" in entered.headers["set-cookie"].lower()
        assert "samesite=strict" in entered.headers["set-cookie"].lower()
        assert own.get("/users", Cookie=f"tapedeck={entered.cookies['tapedeck']}").status == 200
        renewed = own.get("/login?next=/tables", Cookie=f"tapedeck-refresh={entered.cookies['tapedeck-refresh']}")
        assert (renewed.status, renewed.headers["location"]) == (303, "/tables")
        log = own.log()
        assert token not in log
        assert PASSWORD not in log
    finally:
        assert own.stop() == 0
    assert took_s < 30


def test_an_address_beyond_loopback_is_refused_without_users_and_tls(tmp_path: "Path") -> None:
    for variables, reason in (
        ({"TAPEDECK__WEB__HOST": "0.0.0.0"}, "trusted_proxy"),
        ({"JWT_SECRET": "short"}, "32 bytes"),
        ({"TAPEDECK__WEB__HOST": "0.0.0.0", "TAPEDECK__WEB__TRUSTED_PROXY": "10.0.0.1"}, "needs users"),
    ):
        environ = {
            "PATH": "/usr/bin:/bin", "TAPEDECK_HOME": str(tmp_path), "TAPEDECK_CONFIG": "live",
            "TAPEDECK__WEB__PORT": str(free_port()), **variables,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, str(ROOT / "bin" / "web")], env=environ, cwd=tmp_path, capture_output=True, text=True,
            timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert reason in done.stderr


def test_users_are_managed_by_a_command(web: RunningWeb, web_database: str, tmp_path: "Path") -> None:
    environ = {
        "PATH": "/usr/bin:/bin", "TAPEDECK_HOME": str(tmp_path), "TAPEDECK_CONFIG": "live", "COLUMNS": "80",
        "DATABASE_URL": web_database, "JWT_SECRET": SECRET,
    }  # fmt: skip

    def tapedeck(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "recorder", "users", *words], env=environ, input=given, capture_output=True,
            text=True, timeout=60, check=False, cwd=ROOT,
        )  # fmt: skip

    assert tapedeck("add", "ana", "--role", "analyst", given=f"{PASSWORD}\n").returncode == 0
    token = tapedeck("token", "ana").stdout.strip()
    assert web.get("/api/v1/auth/me", token).json == {"name": "ana", "role": "analyst"}
    assert re.search(r"ana +analyst +active", tapedeck("list").stdout)
    refused = tapedeck("add", "Ana Maria", given="x\n")
    assert (refused.returncode, "a-z" in refused.stderr) == (2, True)


def test_a_person_logs_in_and_manages_users_on_pages(
    web: RunningWeb, tokens: dict[str, str], browser: "Browser"
) -> None:
    shown = WatchedPage(browser, web.url)
    page = shown.open("/users", ready="#name")  # not logged in: the form
    page.fill("#name", "admin")
    page.fill("#password", PASSWORD)
    page.click("main button[type=submit]")
    page.wait_for_url("**/users")
    assert "analyst" in page.locator("main").inner_text()
    page.goto(f"{web.url}/audit")
    assert "login" in page.locator("main table").inner_text()
    assert shown.faults == []
    page.locator(".tools button[type=submit]").click()
    page.wait_for_url("**/login")
    page.goto(f"{web.url}/users")
    assert "/login" in page.url
    shown.close()
