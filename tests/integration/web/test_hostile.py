"""What no text or time may be: it is refused with a problem, and is no fault of the program."""

import json

import pytest
from support.web.server import RunningWeb

PATHS = [
    "/chart/kraken:%00",
    "/book/kraken:%00",
    "/data/book/kraken:%00",
    "/jobs/%00",
    "/market/%00",
    "/logs/%00",
    "/coverage/kraken:%00",
    "/markets?q=%00",
    "/markets?tag=%00",
    "/instruments?q=%00",
    "/api/v1/coverage/grid?venue=%00",
    "/api/v1/coverage/grid?text=%00",
    "/api/v1/coverage/grid?after=%00",
    "/api/v1/coverage/grid?end=0001-01-01T00:00:00%2B14:00",
    "/api/v1/coverage/grid.csv?end=9999-12-31T23:59:59-14:00",
    "/api/v1/coverage/cell?instrument=1&hour=9999-12-31T23:59:59-14:00",
    "/coverage/1?hour=0001-01-01T00:00:00%2B14:00",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_hostile_address_is_a_problem_and_no_fault(path: str, public_web: RunningWeb) -> None:
    answer = public_web.get(path)
    assert (answer.status, answer.json["type"]) == (422, "/docs/problems#invalid")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"])
@pytest.mark.parametrize("path", ["/alerts", "/jobs/listings"])
def test_a_list_before_an_absurd_time_is_no_fault(path: str, at: str, public_web: RunningWeb) -> None:
    assert public_web.get(f"{path}?before={at}").status in (200, 404, 422)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/auth/token", {"name": "\0", "password": "a password of a test"}),
        ("/api/v1/auth/token", {"name": "admin", "password": "\0"}),
        ("/api/v1/auth/refresh", {"refresh_token": "\0"}),
    ],
)
def test_a_nul_in_a_document_is_refused_before_any_login(path: str, body: dict[str, str], web: RunningWeb) -> None:
    answer = web.post(path, body)
    assert (answer.status, answer.json["type"]) == (422, "/docs/problems#invalid"), json.dumps(body)
    assert "NUL" in answer.json["detail"]


@pytest.mark.parametrize("path", ["/login", "/setup"])
def test_a_nul_in_a_form_is_refused_before_any_login(path: str, web: RunningWeb) -> None:
    answer = web.form(path, {"name": "\0", "password": "a password of a test", "token": "\0"})
    assert (answer.status, answer.json["type"]) == (422, "/docs/problems#invalid")
