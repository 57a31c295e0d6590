"""Commands print only in ways that escape what others say."""

import ast
from pathlib import Path

import pytest
from support.database_server import ROOT

FOLDERS = ("recorder/cli", "analysis/cli")
FORBIDDEN = {"print", "echo", "secho", "Text", "Console"}
# Their words are ours: the version, and the help that typer writes.
ALLOWED = {("recorder/cli/app.py", "echo"), ("analysis/cli/__init__.py", "echo")}
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def calls(file: Path) -> set[str]:
    """Return the names of the functions that a file calls, without what stands before the last dot."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Name(name):
                    found.add(name)
                case ast.Attribute(ast.Name("typer" | "click"), name):
                    found.add(name)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_command_prints_around_the_escapes(file: Path) -> None:
    name = str(file.relative_to(ROOT))
    assert {one for one in calls(file) & FORBIDDEN if (name, one) not in ALLOWED} == set()


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_column_of_a_progress_bar_reads_markup(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "TextColumn":
            [text] = node.args
            numbers = isinstance(text, ast.Constant) and "{task.fields[" in str(text.value)
            assert numbers or [one.arg for one in node.keywords] == ["markup"]
