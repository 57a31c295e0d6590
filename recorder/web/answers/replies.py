"""Answers about ranges: quality, entity tags, links to the next page."""

import hashlib
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from recorder.web.queries.quality import Quality


def reply(
    request: Request,
    body: bytes,
    content_type: str,
    quality: Quality | None = None,
    *,
    kept: bool = False,
    following: str | None = None,
) -> Response:
    """Return an answer.

    Args:
        request: What is answered.
        body: Of the answer.
        content_type: Of the body.
        quality: Of the range, for the header.
        kept: Whether a client may keep it, as long as the revision is the same.
        following: Place of the next page.
    """
    headers = {"Content-Type": content_type}
    if quality is not None:
        headers["Tapedeck-Quality"] = quality.header()
    if following is not None:
        pairs = [(name, value) for name, value in request.query_params.multi_items() if name != "after"]
        headers["Link"] = f'<{request.url.path}?{urlencode([*pairs, ("after", following)])}>; rel="next"'
    if kept:
        tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
        headers["ETag"], headers["Cache-Control"] = tag, "private, max-age=0, must-revalidate"
        if tag in [one.strip() for one in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
    return Response(body, headers=headers)
