"""Forms of pages: small, urlencoded, without a package for them."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from recorder.web.answers.problems import Problem

_FIELDS = 20


async def fields(request: Request) -> dict[str, str]:
    """Return the fields of a form; of a repeated one the last.

    Raises:
        Problem: the body is no form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Problem(415, "send the form as application/x-www-form-urlencoded")
    try:
        text = (await request.body()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError:
        raise Problem(422, "the form cannot be read", kind="invalid") from None


def local_path(target: str) -> str:
    """Return a path of ours to go to after a login; the first page for anything that could lead elsewhere."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if safe and "\\" not in target and len(target) <= 2000 else "/"
