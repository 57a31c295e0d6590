"""The last lines of a program's log, without reading the whole file."""

from pathlib import Path

from recorder.printable import printable

MOST_LINES = 500
_BLOCK = 256 << 10  # the lines of a page are in the last part of the file


def names(home: Path) -> list[str]:
    """Return the programs that have a log."""
    return sorted(path.stem for path in (home / "log").glob("*.log"))


def tail(home: Path, program: str, lines: int) -> list[str]:
    """Return the last lines of a log, the newest last, each as one printable line.

    Args:
        home: State directory of the appliance.
        program: One of `names`.
        lines: At most MOST_LINES.

    Raises:
        FileNotFoundError: there is no such log.
        OSError: it cannot be read.
    """
    if program not in names(home):  # so that a name leads nowhere else
        raise FileNotFoundError(program)
    with (home / "log" / f"{program}.log").open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _BLOCK))
        text = file.read(_BLOCK).decode(errors="backslashreplace")
    found = text.split("\n")
    if size > _BLOCK:
        found = found[1:]  # the first is cut
    return [printable(line) for line in found if line][-min(lines, MOST_LINES) :]
