"""Every router of the program, and what runs beside the requests.

To add a resource, write a file in `routes/` whose `router` is made by `access.guarded`, and list it here.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter

from recorder.web.routes import (
    alerts,
    auth,
    coverage,
    documents,
    export,
    jobs,
    life,
    lists,
    login,
    market,
    monitoring,
    people,
    static,
    status,
    stream,
    tables,
)
from recorder.web.routes.market_pages import books, charts, instruments, markets, spreads
from recorder.web.state import Web

ROUTERS: tuple[APIRouter, ...] = (
    life.router,
    life.watched,
    static.router,
    documents.router,
    documents.explained,
    login.router,
    instruments.router,
    charts.router,
    books.router,
    markets.router,
    spreads.router,
    auth.router,
    auth.own,
    lists.router,
    market.router,
    market.aliases,
    status.router,
    export.router,
    people.router,
    people.pages,
    tables.router,
    tables.pages,
    stream.router,
    monitoring.pages,
    monitoring.router,
    coverage.pages,
    coverage.router,
    alerts.pages,
    alerts.actions,
    jobs.pages,
)
"""In the order in which addresses are tried."""

PARTS: tuple[Callable[[Web], AbstractAsyncContextManager[None]], ...] = (stream.ticking,)
"""What runs from start to stop, each an async context manager, such as the hub of the stream."""
