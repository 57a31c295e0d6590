"""Which code a program consists of, so that an upgrade restarts only the programs whose code differs.

The files of a program follow from the imports in its sources, also from those inside of functions. What the files of a
package are besides its modules (migrations, profiles) counts with the package. Packages of others count by version.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from recorder.shards import venue_of

_SERVER = "recorder/appliance/embedded_postgres.py"
_IGNORED = ("__pycache__", ".md")


def entry(program: str) -> str:
    """Return the module that a program begins with."""
    if program == "deriver":
        return "analysis.workers.deriver"
    return f"recorder.programs.{'recorder' if venue_of(program) else program}"


def files_of(root: Path, program: str) -> list[Path]:
    """Return the files of ours that a program may use, sorted.

    Args:
        root: The folder that holds the package `recorder`.
        program: Its name, such as recorder-kraken. A recorder needs the files of its own venue only. The server
            `postgres` is a binary, which its settings file started.
    """
    if program == "postgres":
        return [root / _SERVER]
    venue = venue_of(program)
    found: set[Path] = set()
    waiting = [entry(program)]
    while waiting:
        for file in _of_module(root, waiting.pop()):
            if file not in found and not (venue and _of_another_venue(root, file, venue)):
                found.add(file)
                waiting += imports(root, file)
    packages = {file.parent for file in found if file.name == "__init__.py"}
    return sorted(found.union(*map(_data, packages)))


def digest(root: Path, program: str) -> str:
    """Return a digest of a program's code and of the versions of what it is built on. Arguments as of `files_of`."""
    result = hashlib.sha256()
    for file in files_of(root, program):
        result.update(f"{file.relative_to(root)}\0".encode())
        result.update(hashlib.sha256(file.read_bytes()).digest())
    for name in distributions(root):
        if name.startswith("embedded_postgres-") == (program == "postgres"):
            result.update(f"{name}\0".encode())
    return result.hexdigest()


def distributions(root: Path) -> list[str]:
    """Return names with versions of what is installed beside `recorder`, without Tapedeck itself."""
    return sorted(path.name for path in root.glob("*.dist-info") if not path.name.startswith("tapedeck-"))


def _of_module(root: Path, module: str) -> Iterator[Path]:
    """Yield the file of a module and those of the packages around it; nothing where there is no such module."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:count])
        if (place / "__init__.py").is_file():
            yield place / "__init__.py"
        elif place.with_suffix(".py").is_file():
            yield place.with_suffix(".py")


@cache
def imports(root: Path, file: Path) -> tuple[str, ...]:
    """Return the modules of ours that a file imports; a name imported from a package may be a module, too."""
    if file.suffix != ".py":
        return ()
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_bytes(), str(file))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in found if name.partition(".")[0] in ("recorder", "analysis"))


def _of_another_venue(root: Path, file: Path, venue: str) -> bool:
    parts = file.relative_to(root).parts
    # recorder/venues/VENUE/...; a dialect such as coinbase_advanced builds on the venue whose name it begins with.
    return parts[:2] == ("recorder", "venues") and len(parts) > 3 and not venue.startswith(parts[2])


def _data(package: Path) -> set[Path]:
    """Return the files of a package that are no modules; folders without __init__.py belong to the package above."""
    found: set[Path] = set()
    for path in package.iterdir():
        if path.name.endswith(_IGNORED) or path.suffix == ".py":
            continue
        if path.is_file():
            found.add(path)
        elif path.is_dir() and not (path / "__init__.py").exists():
            found |= _data(path)
    return found
