"""The OpenAPI document is what the API does: requests made from it, bounded in number, never find a fault."""

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from support.web.server import RunningWeb

EXAMPLES = 4  # of each operation
_LEFT_OUT = ("/critical", "/api/v1/status")  # of the watchdog and of supervisord, which do not run here


def _ask_all(web: RunningWeb, token: str, examples: int) -> int:
    """Ask every operation that only reads; return the number of requests."""
    schema = schemathesis.openapi.from_dict(web.get("/openapi.json", token).json)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked = 0
    for result in schema.get_all_operations():
        assert isinstance(result, schemathesis.core.result.Ok)
        operation = result.ok()
        if operation.path in _LEFT_OUT or operation.method.upper() != "GET":
            continue

        @hypothesis.settings(max_examples=examples, database=None, deadline=None, derandomize=True,
                             suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: "schemathesis.Case") -> None:  # type: ignore[type-arg]
            nonlocal asked
            response = case.call(base_url=web.url, headers=headers)
            asked += 1
            if response.status_code != 501 and response.status_code != 503:  # an optional package; a table to come
                case.validate_response(response, checks=[not_a_server_error])

        ask()
    return asked


def test_no_request_of_the_documented_form_finds_a_fault(public_web: RunningWeb) -> None:
    assert _ask_all(public_web, "", EXAMPLES) > 100
    assert "request.error" not in public_web.log()


@pytest.mark.long
def test_no_request_of_the_documented_form_finds_a_fault_in_many(web: RunningWeb, tokens: dict[str, str]) -> None:
    assert _ask_all(web, tokens["admin"], 100) > 2_000
    assert "request.error" not in web.log()
