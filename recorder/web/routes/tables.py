"""The table browser: API, its page, and the paths that an earlier system had for it."""

import csv
import io
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response

from recorder.web.access import Role, guarded
from recorder.web.answers.encode import JSON, encoded, rows
from recorder.web.answers.problems import Problem
from recorder.web.browser import cells, read
from recorder.web.browser.compose import OPERATORS
from recorder.web.browser.read import Shown
from recorder.web.state import web_of
from recorder.web.templates import render

Name = Annotated[str, Path(description="Name of the table or view.", max_length=200)]
Filters = Annotated[
    list[str], Query(description=f"`column operator value`, repeated; operators: {' '.join(OPERATORS)}.", max_length=10)
]
At = Annotated[str | None, Query(max_length=40, description="RFC 3339, or -15m, -2h, -1d.")]
Sort = Annotated[str, Query(max_length=100, description="Column; the key unless given.")]
Order = Annotated[Literal["asc", "desc"], Query(description="Of the sort.")]
After = Annotated[str | None, Query(max_length=2000, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Rows of a page.")]

router = guarded(Role.viewer, tags=["tables"])
pages = guarded(Role.viewer, include_in_schema=False)


@router.get("/api/v1/tables", summary="Tables and views")
@router.get("/api/database/tables", summary="Tables and views, at the path of an earlier system")
def list_tables(
    request: Request, partitions: Annotated[bool, Query(description="List them, too.")] = False
) -> Response:
    """Return names, comments and estimated numbers of rows."""
    found = [one for one in read.tables(web_of(request).browser_pool) if partitions or not one.partition]
    items = [
        {"name": cells.name_of(one), "kind": "view" if one.kind in "vm" else "table", "rows_estimated": one.rows,
         "comment": one.comment}
        for one in found
    ]  # fmt: skip
    return Response(encoded({"items": items, "next": None}), media_type=JSON)


@router.get("/api/v1/tables/{name}", summary="Rows of a table")
@router.get("/api/database/tables/{name}", summary="Rows of a table, at the path of an earlier system")
def list_rows(
    request: Request,
    name: Name,
    filter: Filters = [],  # noqa: B006  # FastAPI copies it
    start: At = None,
    end: At = None,
    sort: Sort = "",
    order: Order = "desc",
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """Return rows by key or by an indexed column. Of a big table the last hour, unless a range or a filter is given."""
    shown = _page(request, name, filter, start, end, sort, order, after, limit)
    return Response(_document(shown), media_type=JSON)


@pages.get("/tables")
def tables_page(request: Request, partitions: bool = False) -> Response:
    """Return the page of all tables."""
    found = [one for one in read.tables(web_of(request).browser_pool) if partitions or not one.partition]
    listed = [(one, cells.name_of(one)) for one in found]
    return render(request, "tables.html", tables=listed, partitions=partitions)


@pages.get("/tables/{name}/row")
def row_page(request: Request, name: Name) -> Response:
    """Return the page of a row."""
    given = dict(request.query_params)
    if len(given) > 20 or any("\0" in value for value in given.values()):
        raise Problem(404, "there is no such row")
    table, row = read.row(web_of(request).browser_pool, name, given)
    fields = [
        (one, cells.cell(table, one.name, value, 100_000), _levels(one.type, value))
        for one, value in zip(table.columns, row, strict=True)
    ]
    return render(request, "row.html", table=table, name=cells.name_of(table), fields=fields)


@pages.get("/tables/{name}.csv")
def rows_csv(
    request: Request, name: Name, filter: Filters = [], start: At = None, end: At = None, sort: Sort = "",  # noqa: B006
    order: Order = "desc", after: After = None, limit: Limit = 100,
) -> Response:  # fmt: skip
    """Return what the page shows, as CSV."""
    shown = _page(request, name, filter, start, end, sort, order, after, limit)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([one.name for one in shown.table.columns])
    writer.writerows([[cells.text(value) for value in row] for row in shown.rows])
    headers = {"Content-Disposition": f'attachment; filename="{shown.table.name}.csv"'}
    return Response(text.getvalue(), headers=headers, media_type="text/csv; charset=utf-8")


@pages.get("/tables/{name}.json")
def rows_json(
    request: Request, name: Name, filter: Filters = [], start: At = None, end: At = None, sort: Sort = "",  # noqa: B006
    order: Order = "desc", after: After = None, limit: Limit = 100,
) -> Response:  # fmt: skip
    """Return what the page shows, as JSON."""
    return Response(_document(_page(request, name, filter, start, end, sort, order, after, limit)), media_type=JSON)


@pages.get("/tables/{name}")
def rows_page(
    request: Request, name: Name, filter: Filters = [], start: At = None, end: At = None, sort: Sort = "",  # noqa: B006
    order: Order = "desc", after: After = None, limit: Limit = 100, facet: Annotated[str, Query(max_length=100)] = "",
    column: Annotated[str, Query(max_length=100)] = "", operator: Annotated[str, Query(max_length=10)] = "",
    value: Annotated[str, Query(max_length=300)] = "",
) -> Response:  # fmt: skip
    """Return the page of a table. `column`, `operator` and `value` of the form become one more filter."""
    filters = [one for one in filter if one.strip()]
    if column and operator:
        filters.append(f"{column} {operator} {value}".rstrip())
    shown = _page(request, name, filters, start, end, sort, order, after, limit)
    table = shown.table
    counts = []
    if facet:
        pool = web_of(request).browser_pool
        counts = read.facets(pool, name, facet, filters=filters, start=start, end=end)
    lines = [
        (cells.row_link(table, row), [cells.cell(table, one.name, value, cells.CUT)
                                      for one, value in zip(table.columns, row, strict=True)])
        for row in shown.rows
    ]  # fmt: skip

    def link(suffix: str = "", **changes: Any) -> str:
        """Return the address of this page with some parameters changed."""
        values: dict[str, Any] = {"filter": filters, "start": start, "end": end, "sort": sort, "order": order,
                                  "limit": limit}  # fmt: skip
        values |= changes
        pairs = [(key, one) for key, one in values.items() if one not in (None, "", [])]
        return f"/tables/{cells.name_of(table)}{suffix}?{urlencode(pairs, doseq=True)}"

    return render(
        request, "table.html", table=table, name=cells.name_of(table), lines=lines, shown=shown, filters=filters,
        start=start or "", end=end or "", sort=sort, order=order, limit=limit, link=link, operators=OPERATORS,
        facet=facet, counts=counts,
    )  # fmt: skip


def _page(
    request: Request, name: str, filters: list[str], start: str | None, end: str | None, sort: str, order: str,
    after: str | None, limit: int,
) -> Shown:  # fmt: skip
    web = web_of(request)
    return read.page(
        web.browser_pool, web.keys.of("cursors"), name, filters=filters, start=start or None, end=end or None,
        sort=sort, descending=order == "desc", after=after, limit=limit,
    )  # fmt: skip


def _document(shown: Shown) -> bytes:
    names = [one.name for one in shown.table.columns]
    return encoded({
        "table": cells.name_of(shown.table),
        "columns": [{"name": one.name, "type": one.type, "comment": one.comment} for one in shown.table.columns],
        "items": rows(names, shown.rows),
        "next": shown.next,
        "note": shown.reason,
        "range": None if shown.question.span is None else shown.question.span.text(),
    })  # fmt: skip


def _levels(kind: str, value: Any) -> list[list[float]]:
    """Return the levels of a side of a book; an empty list for any other value."""
    pairs = kind == "double precision[]" and isinstance(value, list) and bool(value) and isinstance(value[0], list)
    return value[:1000] if pairs else []
