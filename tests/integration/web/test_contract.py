"""The OpenAPI document is what the API does: requests made from it, in-process and bounded, never find a fault."""

import json
from typing import Any

import hypothesis
import schemathesis
from schemathesis.checks import not_a_server_error
from support.web.rows import Market
from support.web.server import SECRET

from recorder.settings import Settings
from recorder.web.app import make_app

EXAMPLES = 12  # of each operation
_LEFT_OUT = (
    "/api/v1/auth/token",
    "/critical",
    "/metrics",
    "/api/v1/export/{what}",
)  # slow by design, or of the watchdog


def test_no_request_of_the_documented_form_finds_a_fault(
    web_database: str, market: Market, tmp_path_factory: Any, web_document: bytes
) -> None:
    settings = Settings.load(
        None,
        {
            "TAPEDECK_HOME": str(tmp_path_factory.mktemp("contract")), "TAPEDECK_CONFIG": "live", "JWT_SECRET": SECRET,
            "DATABASE_URL": web_database, "TAPEDECK__WEB__PUBLIC_READ": "true",
            "TAPEDECK__WEB__REQUESTS_PER_MINUTE": "1000000",
        },
    )  # fmt: skip
    app = make_app(settings)
    schema = schemathesis.openapi.from_dict(json.loads(web_document))
    schema.app = app
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in _LEFT_OUT or operation.method.upper() != "GET":
            continue

        @hypothesis.settings(max_examples=EXAMPLES, database=None, deadline=None, derandomize=True,
                             suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            response = case.call(base_url="http://127.0.0.1")
            asked += 1
            case.validate_response(response, checks=[not_a_server_error])

        ask()
    assert asked > 100
