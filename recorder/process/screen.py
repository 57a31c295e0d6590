"""The screen of a command: tables, progress and sentences that show text as it is, never as markup."""

import re
import shutil
import sys
from collections.abc import Container, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from recorder.printable import printable

# A command in backquotes is one piece, and so is a number with its neighbours: `make run`, 3 min, port 54400.
_PIECE = re.compile(r"( *)((?:`[^`]*`|(?<=\d) (?=\S)|(?<=\S) (?=\d)|\S)+)")

_INDENT = "  "


class Screen(Console):
    """A console for text of others: a string is never markup, and what does not print is escaped.

    Args:
        stderr: Write to standard error instead of standard output.
        plain_width: Columns of a table that goes to a file or a pipe, where COLUMNS does not say otherwise.
        colours: False prints no style at all.
    """

    def __init__(self, *, stderr: bool, plain_width: int, colours: bool = True) -> None:
        width = None
        if not (sys.stderr if stderr else sys.stdout).isatty():
            width = shutil.get_terminal_size((0, 0)).columns
        self._unknown_width = width == 0
        super().__init__(
            stderr=stderr, width=plain_width if width == 0 else width, color_system="auto" if colours else None,
            highlight=False, markup=False, emoji=False,
        )  # fmt: skip

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as text, as every string that rich prints or puts into a table becomes one."""
        return super().render_str(printable(text), **{**options, "markup": False, "emoji": False})

    def say(self, sentence: str, indent: str = "") -> None:
        """Print a sentence in lines that fit; in a file or a pipe of unknown width it is one line.

        Args:
            sentence: It may hold words of others.
            indent: Before every line but the first.
        """
        text = printable(sentence)
        lines = [text] if self._unknown_width else fold(text, self.width, indent)
        self.print(Text("\n".join(lines)), soft_wrap=True)

    def list_rows(self, head: Sequence[str], rows: Sequence[Sequence[str]], right: Container[str] = ()) -> None:
        """Print a table of names and words in which no cell is cut; arguments as of `listing`."""
        for number, text in listing(head, rows, self.width, right):
            self.print(Text(text, "bold" if number < 0 else ""), soft_wrap=True)


def open_screen(*, stderr: bool, plain_width: int) -> Screen:
    """Return a screen that respects NO_COLOR: there, rich still prints bold text."""
    screen = Screen(stderr=stderr, plain_width=plain_width)
    return Screen(stderr=stderr, plain_width=plain_width, colours=False) if screen.no_color else screen


def shown(text: str, style: str = "") -> Text:
    """Return text of others for a table or a screen."""
    return Text(printable(text), style)


def fold(text: str, width: int, indent: str = "") -> list[str]:
    """Return a text in lines of a width that keep a command in one piece, and a number beside its name and its unit.

    Args:
        text: One line.
        width: Most characters of a line; a longer piece stands alone on a line that is too long.
        indent: Before every line but the first.
    """
    lines = [""]
    for blanks, piece in _PIECE.findall(text):
        if not lines[-1] or len(lines[-1]) + len(blanks) + len(piece) <= width:
            lines[-1] += blanks + piece
        else:
            lines.append(indent + piece)
    return lines


def grid(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Yield the lines of a table whose first column is a name and whose other columns are numbers.

    Where the rows do not fit, each name stands on a line of its own above its numbers.

    Args:
        head: Titles of the columns.
        rows: Cells of each row.
        width: Columns of the terminal.
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for gap in ("  ", " "):
        if sum(widths) + len(gap) * (len(widths) - 1) <= width:
            for name, *cells in (head, *rows):
                yield f"{name:<{widths[0]}}{gap}{_numbers(cells, widths[1:], gap)}".rstrip()
            return
    for name, *cells in (head, *rows):
        yield name
        yield f"{_INDENT}{_numbers(cells, widths[1:], ' ')}".rstrip()


def listing(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int, right: Container[str] = ()
) -> Iterator[tuple[int, str]]:
    """Yield the lines of a table of names and words, each with the number of its row; -1 for the head.

    No cell is cut. Where the rows do not fit, the first cell of each stands on lines of its own, and below it the
    others with their titles.

    Args:
        head: Titles of the columns.
        rows: Cells of each row.
        width: Columns of the terminal.
        right: Titles of the columns of numbers, which end at the right.
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) <= width:
        for number, cells in enumerate((head, *rows), -1):
            sized = zip(cells, widths, head, strict=True)
            texts = [f"{cell:>{size}}" if title in right else f"{cell:<{size}}" for cell, size, title in sized]
            yield number, "  ".join(texts).rstrip()
        return
    for number, (name, *cells) in enumerate(rows):
        for line in fold(name, width, _INDENT):
            yield number, line
        said = ", ".join(f"{title} {cell}" for title, cell in zip(head[1:], cells, strict=True) if cell)
        for line in fold(_INDENT + said, width, _INDENT) if said else ():
            yield number, line


def _numbers(cells: Sequence[str], widths: Sequence[int], gap: str) -> str:
    return gap.join(f"{cell:>{size}}" for cell, size in zip(cells, widths, strict=True))
