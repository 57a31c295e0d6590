"""What requests send in their body: forms of pages, small and urlencoded, and documents of the API."""

from typing import Self
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, model_validator
from starlette.requests import Request

from recorder.web.answers.problems import NO_NUL, Problem

_FIELDS = 20


class Document(BaseModel):
    """A document that a program sends; no text in it has the character NUL, which Postgres cannot hold."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="after")
    def _without_nul(self) -> Self:
        if any(isinstance(value, str) and "\0" in value for value in self.__dict__.values()):
            raise ValueError(NO_NUL)
        return self


async def fields(request: Request) -> dict[str, str]:
    """Return the fields of a form; of a repeated one the last.

    Raises:
        Problem: the body is no form, or has the character NUL.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Problem(415, "send the form as application/x-www-form-urlencoded")
    try:
        text = (await request.body()).decode()
        found = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError:
        raise Problem(422, "the form cannot be read", kind="invalid") from None
    if any("\0" in part for pair in found.items() for part in pair):
        raise Problem(422, NO_NUL, kind="invalid")
    return found


def local_path(target: str) -> str:
    """Return a path of ours to go to after a login; the first page for anything that could lead elsewhere."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if safe and "\\" not in target and len(target) <= 2000 else "/"
