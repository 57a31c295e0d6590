"""Text on a screen: literal, in lines that fit, with commands in one piece."""

import io

import pytest
from rich.table import Table

from recorder.process.screen import Screen, fold, grid, open_screen, shown

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
