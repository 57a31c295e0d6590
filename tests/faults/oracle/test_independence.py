"""The oracle proves nothing if it shares code with what it judges."""

import ast
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
MODULES = [path for path in sorted(FOLDER.glob("*.py")) if not path.name.startswith("test_")]


def imported(path: Path) -> set[str]:
    """Return the top packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def test_the_oracle_imports_nothing_of_the_product_or_its_test_helpers() -> None:
    assert len(MODULES) > 5
    for path in MODULES:
        assert not imported(path) & {"recorder", "analysis", "support", ""}, path.name


def test_importing_the_oracle_loads_nothing_of_the_product() -> None:
    names = [f"faults.oracle.{path.stem}" for path in MODULES if path.stem != "__init__"]
    lines = [f"import sys; sys.path.insert(0, {str(FOLDER.parents[1])!r})", *(f"import {name}" for name in names)]
    lines.append(
        "print([name for name in sys.modules if name.partition('.')[0] in ('recorder', 'analysis', 'support')])"
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
