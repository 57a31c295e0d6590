"""Text on a screen: literal, in lines that fit, with commands in one piece."""

import io

import pytest
from rich.table import Table

from recorder.process.screen import Screen, fold, grid, listing, open_screen, shown

HOSTILE = "[/x][link=http://evil.test]\x1b]0;owned\x07\u202e\u009b\n[red]"
ESCAPED = r"[/x][link=http://evil.test]\x1b]0;owned\x07\u202e\x9b\n[red]"


@pytest.fixture
def screen() -> Screen:
    made = open_screen(stderr=False, plain_width=200)
    made.file = io.StringIO()
    return made


def printed(screen: Screen) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_strings_in_every_place_are_literal_and_printable(screen: Screen) -> None:
    table = Table("head", HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_row(HOSTILE, shown(HOSTILE, "red"))
    screen.print(HOSTILE)
    screen.print(HOSTILE, markup=True)
    screen.say(HOSTILE)
    screen.print(table)
    text = printed(screen)
    assert not set(text) & set("\x1b\x07\u202e\u009b")
    assert "".join(text.split()).count(ESCAPED) >= 5


def test_a_command_and_a_number_with_its_unit_are_never_broken() -> None:
    text = "recording into tape after 21 s; `make status`, `make logs` and `make psql` show it, `make stop` stops it"
    for width in range(20, 120):
        lines = fold(text, width)
        assert " ".join(lines) == text
        assert max(map(len, lines)) <= max(width, len("`make status`,"))
        assert all(line.count("`") % 2 == 0 for line in lines)
        assert any("after 21 s;" in line for line in lines)


def test_blanks_between_columns_stay() -> None:
    assert fold("  writer               ready", 80) == ["  writer               ready"]
    assert fold("  writer      one two", 12, "    ") == ["  writer", "    one two"]
    assert fold("", 10) == [""]


def test_a_grid_puts_names_above_numbers_where_the_rows_do_not_fit() -> None:
    head, row = ["stream", "sent", "lost"], ["kraken BTC/USD trade", "12,345", "0"]
    assert list(grid(head, [row], 40))[1] == "kraken BTC/USD trade  12,345     0"
    assert list(grid(head, [row], 20)) == ["stream", "    sent lost", "kraken BTC/USD trade", "  12,345    0"]


HEAD = ("job", "next", "reason")
ROWS = [("polymarket-books-t0", "in 12 min", ""), ("whales", "now", "service answers HTTP 503 for a page of trades")]


def test_a_listing_is_a_table_where_it_fits() -> None:
    lines = list(listing(HEAD, ROWS, 120, ("next",)))
    assert [number for number, _ in lines] == [-1, 0, 1]
    assert lines[1][1] == "polymarket-books-t0  in 12 min"
    assert lines[2][1] == "whales                     now  service answers HTTP 503 for a page of trades"


@pytest.mark.parametrize("width", [40, 60])
def test_a_listing_cuts_no_name_where_it_does_not_fit(width: int) -> None:
    lines = list(listing(HEAD, ROWS, width))
    assert [line for number, line in lines if number == 0] == ["polymarket-books-t0", "  next in 12 min"]
    said = [line for number, line in lines if number == 1]
    assert said[0] == "whales"
    assert (
        " ".join(line.strip() for line in said[1:]) == "next now, reason service answers HTTP 503 for a page of trades"
    )
    assert all(len(line) <= width for _, line in lines)


def test_a_listing_without_rows_is_its_head() -> None:
    assert list(listing(HEAD, [], 80)) == [(-1, "job  next  reason")]
