"""Exports: complete ranges as CSV, NDJSON or Parquet, read by a server-side cursor while they are sent."""

import csv
import importlib
import io
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from recorder.store.database import Cursor
from recorder.web.access import Role, guarded, principal_of
from recorder.web.answers.encode import instant, plain, rows
from recorder.web.answers.prices import shortest
from recorder.web.answers.problems import Problem
from recorder.web.answers.ranges import span
from recorder.web.queries import instruments
from recorder.web.queries.listing import Column
from recorder.web.queries.quality import measure
from recorder.web.queries.resources import BARS, QUOTES, TRADES
from recorder.web.routes.lists import OnGap, refuse_gaps
from recorder.web.routes.market import WIDTHS_S, Instr, Width
from recorder.web.state import web_of

Format = Literal["csv", "ndjson", "parquet"]
_BATCH = 5_000
_STATEMENT_S = 600.0
_LISTINGS = {"trades": TRADES, "quotes": QUOTES, "bars": BARS}
_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}

router = guarded(Role.analyst, prefix="/api/v1/export", tags=["export"])


@router.get("/{what}", summary="Export a range")
def export(
    request: Request,
    what: Annotated[Literal["trades", "quotes", "bars"], Path(description="What is exported.")],
    instrument: Instr,
    start: Annotated[str, Query(description="Begin, included.", max_length=40)],
    end: Annotated[str, Query(description="End, excluded.", max_length=40)],
    format: Annotated[Format, Query(description="Parquet needs the extra `derive`.")] = "csv",
    width: Width = "1m",
    on_gap: OnGap = "refuse",
) -> Response:
    """Return all rows of a range. A range in which rows may be missing is refused by default.

    The header `Tapedeck-Manifest` says what the file holds. One export runs at a time. An export that fails midway ends
    without the last chunk, which every client notices.
    """
    web = web_of(request)
    if format == "parquet":
        _require_pyarrow()
    listing = _LISTINGS[what]
    asked = span(start, end, timedelta(hours=1), timedelta(days=366))
    given = {"width_s": WIDTHS_S[width]} if what == "bars" else {}
    stack = ExitStack()
    try:
        cursor = stack.enter_context(web.export_pool.transaction(statement_s=_STATEMENT_S, wait_s=1.0))
        one = instruments.find(cursor, instrument)
        quality = measure(cursor, one, listing.channel, asked, WIDTHS_S[width] if what == "bars" else 60)
        refuse_gaps(quality, on_gap)
        text, values = listing.statement(asked, one.instrument_id, given, None, "asc", None)
        cursor.execute(f"DECLARE export NO SCROLL CURSOR FOR {text}", values)
        about = f"{what} {one.name} {instant(asked.start)} {instant(asked.end)} {format}"
        web.accounts.note(principal_of(request).name, str(request.scope["state"].get("client", "")), "export", about)
    except BaseException:
        stack.close()
        raise
    manifest = {
        "what": what, "instrument_id": str(one.instrument_id), "venue": one.venue, **asked.text(), "format": format,
        "columns": [column.name for column in listing.columns], "quality": quality.document(),
        **({"width": width} if what == "bars" else {}),
    }  # fmt: skip
    name = f"{what}-{one.venue}-{asked.start:%Y%m%dT%H%M%S}.{format}"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Tapedeck-Quality": quality.header(),
        "Tapedeck-Manifest": msgspec.json.encode(manifest).decode("ascii", "backslashreplace"),
    }
    return StreamingResponse(_body(stack, cursor, listing.columns, format), media_type=_TYPES[format], headers=headers)


def _body(stack: ExitStack, cursor: Cursor, columns: tuple[Column, ...], format: Format) -> Iterator[bytes]:
    """Yield the file; the transaction ends with it."""
    with stack:
        batches = _batches(cursor, len(columns))
        if format == "parquet":
            yield from _parquet(batches, columns)
            return
        names = [column.name for column in columns]
        if format == "csv":
            yield (",".join(names) + "\r\n").encode()
        for batch in batches:
            items = rows(names, batch)
            yield (
                _csv(names, items)
                if format == "csv"
                else b"".join(msgspec.json.encode(plain(item)) + b"\n" for item in items)
            )


def _batches(cursor: Cursor, width: int) -> Iterator[list[tuple[Any, ...]]]:
    while True:
        cursor.execute(f"FETCH {_BATCH} FROM export")
        found = cursor.fetchall()
        if not found:
            return
        yield [row[:width] for row in found]


def _csv(names: list[str], items: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    for item in items:
        writer.writerow([_cell(plain(item[name])) for name in names])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return shortest(value) if isinstance(value, float) else value


def _require_pyarrow() -> Any:
    """Return the package.

    Raises:
        Problem: 501, it is not installed.
    """
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise Problem(501, "Parquet needs pyarrow, which make setup installs; csv and ndjson do not") from None


def _parquet(batches: Iterator[list[tuple[Any, ...]]], columns: tuple[Column, ...]) -> Iterator[bytes]:
    parquet = _require_pyarrow()
    arrow = importlib.import_module("pyarrow")
    kinds = {
        "timestamptz": arrow.timestamp("us", tz="UTC"), "number": arrow.float64(), "integer": arrow.int64(),
        "boolean": arrow.bool_(), "text": arrow.string(),
    }  # fmt: skip
    schema = arrow.schema([(c.name, arrow.string() if c.sql.endswith("::text") else kinds.get(c.kind, arrow.int64()))
                           for c in columns])  # fmt: skip
    sink = _Sink()
    writer = parquet.ParquetWriter(sink, schema, compression="zstd")
    for batch in batches:
        values = list(zip(*batch, strict=True))
        writer.write_table(arrow.table([list(one) for one in values], schema=schema))
        yield sink.taken()
    writer.close()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """A file that only grows, and forgets what was taken."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        """Return that it can be written."""
        return True

    def write(self, data: Any) -> int:
        """Append bytes."""
        piece = bytes(data)
        self._pieces.append(piece)
        self._length += len(piece)
        return len(piece)

    def tell(self) -> int:
        """Return the length so far."""
        return self._length

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        body = b"".join(self._pieces)
        self._pieces.clear()
        return body
