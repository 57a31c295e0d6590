"""Errors as the API tells them: application/problem+json (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

CONTENT_TYPE = "application/problem+json"
NO_NUL = "the request has the character NUL in a text; leave it out"


class Kind(NamedTuple):
    """A kind of problem, as the page of problems explains it."""

    status: int
    title: str
    what: str
    do: str  # what a client does next


PAGE = "/docs/problems"
"""Address of the page; the `type` of a problem is an anchor of it."""

KINDS: Mapping[str, Kind] = {
    "ambiguous-symbol": Kind(409, "Several instruments have this symbol",
        "Several venues list the symbol; `candidates` has their names.", "Add `venue`, or ask by venue:symbol."),
    "bad-request": Kind(400, "The request is not understood",
        "The request is not of the documented form.", "Compare it with the API at /docs."),
    "busy": Kind(503, "All connections to Postgres are in use",
        "No connection to Postgres became free in time.", "Try again after the seconds of `Retry-After`."),
    "conflict": Kind(409, "What was asked is no longer so",
        "The object changed meanwhile, for example an alert that does not fire any more.",
        "Read the object again, then decide."),
    "database-away": Kind(503, "Postgres does not answer",
        "Nothing that is stored can be read now. Recording goes on in the journals.",
        "Try again after the seconds of `Retry-After`; `tapedeck status` says what is wrong."),
    "failure": Kind(500, "A fault of Tapedeck",
        "The program met something that it does not handle. The log names the `request_id`.",
        "Report it with the lines of the log: `tapedeck logs web`."),
    "forbidden": Kind(403, "This login may not do that",
        "The role is too low, or the link has been used.", "Ask an admin for the role that `detail` names."),
    "foreign-origin": Kind(403, "The request comes from another site",
        "A browser sent it for a page that is not one of these, so it is refused.",
        "Send a token as `Authorization: Bearer`, or list the site in `web.origins`."),
    "gaps": Kind(409, "Rows may be missing in the range",
        "Gaps touch the range, or it begins before the recording; `gaps` lists the times.",
        "Choose another range, or set `on_gap` to mask or ignore."),
    "invalid": Kind(422, "A value is not allowed",
        "A parameter or a field is missing or out of its bounds; `errors` names each.", "Correct it and ask again."),
    "method-not-allowed": Kind(405, "This address has another method",
        "The address exists, but not with this method.", "Look it up at /docs."),
    "not-found": Kind(404, "There is no such thing",
        "The address, the instrument or the object does not exist.",
        "`GET /api/v1/instruments` lists instruments; /docs lists addresses."),
    "not-installed": Kind(501, "A part is not installed",
        "The answer needs a package that is not installed here.", "Install it, or ask for another format."),
    "not-loaded": Kind(409, "The end of the range is not known yet",
        "What the venue sent after `known_until` is in a journal at most, not in Postgres.",
        "End the range at `known_until`, ask again some seconds later, or set `on_gap` to mask or ignore."),
    "not-there-yet": Kind(503, "The table is not made yet",
        "The program that derives these rows has not run with this database.",
        "Start it: `tapedeck status` shows whether the deriver runs."),
    "other": Kind(400, "Another problem", "`status` and `detail` say which.", "Do what `detail` says."),
    "too-large": Kind(413, "The body is too large", "The body is longer than `detail` says.", "Send less."),
    "too-many-requests": Kind(429, "Too many requests",
        "The user, or the address without login, has used up its requests of the minute.",
        "Wait the seconds of `Retry-After`; `web.requests_per_minute` sets the limit."),
    "too-slow": Kind(503, "The question takes too long",
        "Postgres was stopped because the answer took longer than allowed.",
        "Ask for a shorter range, or add a filter."),
    "unauthorized": Kind(401, "A login is needed",
        "There is no login, or the token has expired or was revoked.",
        "Log in at /login, or get a token: `POST /api/v1/auth/token`."),
    "unavailable": Kind(503, "It cannot be done at this moment",
        "A part that is needed does not answer, or has too much to do.", "Try again in some seconds."),
    "unknown-host": Kind(421, "The host name is not known here",
        "The request names a host that is not listed, as another site's page could make it do.",
        "Add the name to `web.hosts`."),
    "unsupported-media-type": Kind(415, "The body has another form",
        "The body is not of the type that this address takes.", "Send the `Content-Type` that `detail` names."),
    "watchdog-away": Kind(503, "The watchdog does not answer",
        "Alerts and metrics come from the program `watchdog`, which does not answer.",
        "`tapedeck status` shows whether it runs."),
    "wrong-place": Kind(400, "`after` belongs to another question",
        "A place in a list fits the same question only.", "Take `after` from `next` of the page before."),
}  # fmt: skip
"""Every kind of problem, by the last part of its `type`."""

_OF_STATUS = {
    400: "bad-request", 401: "unauthorized", 403: "forbidden", 404: "not-found", 405: "method-not-allowed",
    409: "conflict", 413: "too-large", 415: "unsupported-media-type", 421: "unknown-host", 422: "invalid",
    429: "too-many-requests", 500: "failure", 501: "not-installed", 503: "unavailable",
}  # fmt: skip


def type_of(status: int, kind: str = "") -> str:
    """Return the `type` of a problem: the address of its explanation."""
    return f"{PAGE}#{kind or _OF_STATUS.get(status, 'other')}"


class Problem(Exception):
    """A request that cannot be answered, as its client reads it.

    Attributes:
        status: HTTP status.
        detail: One sentence that says what to do next.
        kind: Its name in KINDS, for programs; the last part of `type`.
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
        self.kind = kind or _OF_STATUS.get(status, "other")
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
            "type": type_of(self.status, self.kind),
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
