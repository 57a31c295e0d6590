"""Cursor paging, as a server could answer it."""

from collections.abc import Callable

import pytest

from recorder.errors import RestInvalidResponse
from recorder.rest.paging import PAGES_MAX, pages


def fetched(first: str, answers: Callable[[str], str | None], most: int = PAGES_MAX) -> list[str]:
    """Return the paths requested; `answers` gives the successor of a path."""
    return list(pages(first, lambda path: path, lambda _path, page: answers(page), most))


def test_pages_are_read_until_one_names_no_successor() -> None:
    assert fetched("/a", {"/a": "/b", "/b": "/c", "/c": None}.get) == ["/a", "/b", "/c"]


@pytest.mark.parametrize("echo", ["/a", "/b", "/c"])
def test_an_echoed_cursor_ends_with_an_error_that_says_so(echo: str) -> None:
    with pytest.raises(RestInvalidResponse, match="page 3 echoes the cursor"):
        fetched("/a", {"/a": "/b", "/b": "/c", "/c": echo}.get)


def test_a_list_without_an_end_is_left_after_a_hundred_pages() -> None:
    requested: list[str] = []

    def fetch(path: str) -> int:
        requested.append(path)
        return len(requested)

    with pytest.raises(RestInvalidResponse, match="has no last page: 100 were read"):
        list(pages("/list", fetch, lambda _path, page: f"/list?page={page + 1}"))
    assert len(requested) == 100


def test_a_list_of_exactly_as_many_pages_as_allowed_is_complete() -> None:
    assert len(fetched("0", lambda path: str(int(path) + 1) if int(path) < 9 else None, most=10)) == 10


def test_a_cursor_of_absurd_length_is_not_sent_back() -> None:
    with pytest.raises(RestInvalidResponse, match="10000 characters"):
        fetched("/a", lambda _path: "x" * 10_000)


def test_no_page_is_requested_before_the_one_before_is_used() -> None:
    requested: list[str] = []
    reading = pages("0", lambda path: requested.append(path), lambda path, _page: str(int(path) + 1))
    next(reading)
    assert requested == ["0"]
    next(reading)
    assert requested == ["0", "1"]
