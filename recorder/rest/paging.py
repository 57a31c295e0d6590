"""Lists that come page by page, each page naming the next."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from recorder.errors import RestInvalidResponse

PAGES_MAX = 100
"""The most pages of one list, unless a caller knows that it has more."""

_PATH_MAX = 8192  # characters; no cursor of a real service comes near

_T = TypeVar("_T")


def pages(
    first: str, fetch: Callable[[str], _T], following: Callable[[str, _T], str | None], most: int = PAGES_MAX
) -> Iterator[_T]:
    """Yield each page of a list.

    Args:
        first: Path of the first page.
        fetch: Requests a path. A parameter that changes with each request, to avoid a cache, is added here.
        following: Returns the path of the next page, from the path of a page and what `fetch` returned; None after
            the last. A server that echoes a cursor makes it return a path that was read.
        most: Pages to read at most.

    Raises:
        RestInvalidResponse: a page names a page that was read or a cursor of absurd length, or the list does not end.
    """
    seen: set[str] = set()
    path = first
    while True:
        seen.add(path)
        page = fetch(path)
        yield page
        successor = following(path, page)
        if successor is None:
            return
        if successor in seen:
            raise RestInvalidResponse(f"{first}: page {len(seen)} echoes the cursor of a page that was read")
        if len(successor) > _PATH_MAX:
            raise RestInvalidResponse(f"{first}: page {len(seen)} names its successor by {len(successor)} characters")
        if len(seen) >= most:
            raise RestInvalidResponse(f"{first} has no last page: {most} were read")
        path = successor
