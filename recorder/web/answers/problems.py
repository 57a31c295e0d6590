"""Errors as the API tells them: application/problem+json (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

CONTENT_TYPE = "application/problem+json"
NO_NUL = "the request has the character NUL in a text; leave it out"


class Problem(Exception):
    """A request that cannot be answered, as its client reads it.

    Attributes:
        status: HTTP status.
        detail: One sentence that says what to do next.
        kind: Name of the kind of problem, for programs; the last part of `type`.
        headers: Further headers of the answer.
        errors: Single faults, each with `loc` and `msg`.
        more: Further members of the document.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "",
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind or HTTPStatus(status).phrase.lower().replace(" ", "-")
        self.headers = dict(headers or {})
        self.errors = list(errors)
        self.more = more

    def document(self, instance: str, request_id: str) -> bytes:
        """Return the body of the answer.

        Args:
            instance: Path of the request.
            request_id: As the log names it.
        """
        document: dict[str, Any] = {
            "type": f"/docs/problems#{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "request_id": request_id,
        }
        if self.errors:
            document["errors"] = self.errors
        return msgspec.json.encode(document | self.more)


def away(detail: str) -> Problem:
    """Return that Postgres cannot be asked now."""
    return Problem(503, detail, kind="database-away", headers={"Retry-After": "2"})
