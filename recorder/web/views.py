"""The shapes of answers, for the OpenAPI document."""

from typing import Any

from pydantic import BaseModel, create_model

from recorder.web.queries.listing import Kind, Listing

_TYPES: dict[Kind, Any] = {
    "text": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "timestamptz": str,
    "json": Any,
}


class QualityView(BaseModel):
    """How complete the range is."""

    coverage: float
    gaps: int
    open: int
    healed: int
    certified: bool
    revision: str
    not_loaded: "RangeView | None"


class RangeView(BaseModel):
    """The range that was read."""

    start: str
    end: str


class InstrumentView(BaseModel):
    """The instrument that was read."""

    instrument_id: str
    venue: str
    symbol: str


def page_view(listing: Listing) -> type[BaseModel]:
    """Return the shape of a page of a list."""
    title = "".join(part.capitalize() for part in listing.name.split("_"))
    fields: dict[str, Any] = {}
    for column in listing.columns:
        kind: Any = _TYPES.get(column.kind, int)
        if column.kind == "bigint" and column.name.endswith("_id"):
            kind = str
        fields[column.name] = (kind | None if kind is not Any else Any, None)
    row = create_model(f"{title}Row", **fields)
    page: dict[str, Any] = {"items": (list[row], ...), "next": (str | None, None)}
    if listing.time or listing.overlap:
        page["range"] = (RangeView, ...)
    if listing.channel:
        page |= {"instrument": (InstrumentView, ...), "quality": (QualityView, ...)}
    return create_model(f"{title}Page", **page)
