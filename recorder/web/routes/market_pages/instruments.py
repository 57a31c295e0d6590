"""The page that lists instruments, and the page of models."""

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from recorder.web.access import Role, guarded
from recorder.web.answers.prices import price
from recorder.web.market_data import instruments, models
from recorder.web.state import web_of
from recorder.web.templates import render

_CARD = (
    ("n_trials", "Parameter sets tried"),
    ("markets", "Markets in training"),
    ("base_rate", "Share of label 1"),
    ("horizons", "Horizons"),
    ("trees_test", "Test that accepted the trees"),
    ("calibration_test", "Test that accepted the calibration"),
    ("params", "Parameters"),
)
_CARD_TEXT = 600  # characters of a value

router = guarded(Role.viewer, include_in_schema=False)

Word = Annotated[str, Query(max_length=400)]


@router.get("/instruments")
def instrument_list(
    request: Request,
    q: Word = "",
    venue: Word = "",
    every: Word = "",
    after: Word = "",
    purpose: Annotated[str, Query(alias="for", max_length=10)] = "",
) -> HTMLResponse:
    """Return a page of the list."""
    with web_of(request).pool.transaction() as cursor:
        rows = instruments.search(cursor, q, venue, every=bool(every), after=after, limit=instruments.PAGE + 1)
        names = instruments.venues(cursor)
    asked = {"q": q, "venue": venue, "every": every, "for": purpose}
    here = {name: value for name, value in asked.items() if value}
    more = len(rows) > instruments.PAGE
    rows = rows[: instruments.PAGE]
    return render(
        request,
        "instruments.html",
        rows=rows,
        venues=names,
        text=q,
        venue=venue,
        every=every,
        purpose=purpose if purpose in ("chart", "book") else "",
        after=after,
        first=f"/instruments?{urlencode(here)}",
        following=f"/instruments?{urlencode(here | {'after': rows[-1].name})}" if more else None,
        price=price,
    )


@router.get("/models")
def model_list(request: Request) -> HTMLResponse:
    """Return the registered models with their scores."""
    with web_of(request).pool.transaction() as cursor:
        found = models.models(cursor)
    for one in found:
        one["card"] = list(_card(one["metadata"]))
    return render(request, "models.html", models=found)


def _card(metadata: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield label and text of what a model's metadata says beside its columns."""
    for name, label in _CARD:
        value = metadata.get(name) if isinstance(metadata, dict) else None
        if value is None:
            continue
        if isinstance(value, dict):
            text = ", ".join(f"{key} {_number(part)}" for key, part in value.items())
        elif isinstance(value, list):
            text = ", ".join(map(str, value))
        else:
            text = _number(value)
        yield label, text[:_CARD_TEXT]


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
