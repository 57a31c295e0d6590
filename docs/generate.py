"""Write the pages of schema, metrics and commands from their sources, and the table of faults.

`make docs` runs it after a change of either; a test fails while the pages differ from their sources.
"""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support import scoreboard  # noqa: E402 - from tests/, which is no installed package

from recorder.watchdog.pages.metrics import METRICS  # noqa: E402 - after the path is set

_RELATION = re.compile(r"^CREATE (TABLE|VIEW) (\w+) (?:\(|AS)", re.MULTILINE)
_COMMENT = re.compile(r"^COMMENT ON (TABLE|VIEW|COLUMN) ([\w.]+) IS '((?:[^']|'')*)';$", re.MULTILINE)
_COLUMN = re.compile(r'^    "?(\w+)"? ([^,\n]+?),?$', re.MULTILINE)
_CONSTRAINT = re.compile(r" (NOT NULL|DEFAULT .*)")


def schema_page(schema: str) -> str:
    """Return the page about tables and views.

    Args:
        schema: Text of sql/schema.sql.
    """
    comments = {name: text.replace("''", "'") for _, name, text in _COMMENT.findall(schema)}
    parts = [
        "# Schema\n",
        "`docs/generate.py` writes this page from `sql/schema.sql`; `\\d+ NAME` in `make psql` shows the same.",
        "Times are `timestamptz`, UTC. The tables `trade`, `quote` and `book` have one partition a day.\n",
    ]
    for kind, name in _relations(schema):
        parts.append(f"## {name}\n\n{comments.get(name, '')}\n")
        parts.append("| column | type | meaning |\n| --- | --- | --- |")
        types = _types(schema, name) if kind == "TABLE" else {}
        columns = [key.split(".")[1] for key in comments if key.startswith(f"{name}.")]
        parts += [
            f"| `{column}` | {types.get(column, '')} | {_cell(comments[f'{name}.{column}'])} |" for column in columns
        ]
        parts.append("")
    return "\n".join(parts)


def _relations(schema: str) -> Iterator[tuple[str, str]]:
    """Yield (kind, name) of every table and view that has a comment of its own; partitions have none."""
    commented = {name for kind, name, _ in _COMMENT.findall(schema) if kind != "COLUMN"}
    yield from (found for found in _RELATION.findall(schema) if found[1] in commented)


def _types(schema: str, table: str) -> dict[str, str]:
    """Return the type of each column of a table, with its NOT NULL."""
    start = schema.index(f"CREATE TABLE {table} (")
    body = schema[start : schema.index("\n)", start)]
    return {
        name: _CONSTRAINT.sub("", kind).strip().replace("timestamp with time zone", "timestamptz")
        + ("" if "NOT NULL" in kind else ", null")
        for name, kind in _COLUMN.findall(body)
        if name != "CONSTRAINT"
    }


def metrics_page() -> str:
    """Return the page about everything that the watchdog measures."""
    lines = [
        "# Metrics\n",
        "`docs/generate.py` writes this page from `recorder/watchdog/pages/metrics.py`. The watchdog serves these on\n"
        "`/metrics`; [operate](operate.md#prometheus-and-grafana) says how Prometheus gets them. Counters go on over "
        "restarts.\n",
        "| metric | kind | labels | meaning |\n| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {_cell(one.help)} |"
        for one in METRICS
    ]
    return "\n".join(lines) + "\n"


def commands_page(module: str, name: str) -> str:
    """Return the page about every command of a program, written by typer from the help texts.

    Args:
        module: Module that holds the typer application.
        name: Name of the program in a shell.
    """
    command = [sys.executable, "-m", "typer", module, "utils", "docs", "--name", name, "--title", f"Commands of {name}"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "NO_COLOR": "1"}
    )
    return _with_full_summaries(done.stdout, name).rstrip() + "\n"


def _with_full_summaries(page: str, name: str) -> str:
    """Return a page in which the list of commands has the first sentence of each command, which typer cuts short."""
    first = dict(re.findall(rf"^##+ `{name} ([^`]+)`\n\n(.+?\.)(?:\s|$)", page, re.MULTILINE))
    group = ""
    lines = []
    for line in page.split("\n"):
        if heading := re.match(rf"##+ `{name} ([^\s`]+)", line):
            group = f"{heading[1]} "
        entry = re.match(r"\* `([\w-]+)`: .*\.\.\.$", line)
        sentence = None if entry is None else first.get(f"{group}{entry[1]}")
        lines.append(line if entry is None or sentence is None else f"* `{entry[1]}`: {sentence}")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*")


def with_scoreboard(page: str) -> str:
    """Return the page about guarantees with the table of fault experiments between its two marks."""
    start, end = "<!-- fault experiments -->\n", "<!-- end of fault experiments -->"
    before, _, rest = page.partition(start)
    return f"{before}{start}\n{scoreboard.table()}\n\n{end}{rest.partition(end)[2]}"


def pages() -> dict[Path, str]:
    """Return every generated page by its path; the page of analysis only where its extra is installed."""
    docs = ROOT / "docs"
    found = {
        docs / "schema.md": schema_page((ROOT / "sql" / "schema.sql").read_text()),
        docs / "metrics.md": metrics_page(),
        docs / "cli.md": commands_page("recorder.cli.app", "tapedeck"),
        docs / "guarantees.md": with_scoreboard((docs / "guarantees.md").read_text()),
    }
    if importlib.util.find_spec("polars"):
        found[docs / "cli-analysis.md"] = commands_page("analysis.cli", "tapedeck-analysis")
    return found


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
