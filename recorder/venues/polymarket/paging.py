"""Keyset paging: each page names the cursor of the next."""

from urllib.parse import quote


def page_after(path: str, cursor: str) -> str:
    """Return the path of the page after the one at `path`. The filters stay, because the cursor is bound to them."""
    # The venue ignores any other name of the parameter, and would answer with page one for ever.
    return f"{path.partition('&after_cursor=')[0]}&after_cursor={quote(cursor, safe='')}"


def is_following(path: str) -> bool:
    """Return whether a path is of a page behind the first one."""
    return "&after_cursor=" in path
