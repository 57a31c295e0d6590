"""The table of messages holds every message the decoders handle, and names those that were never seen."""

import ast
import importlib
import inspect
from types import ModuleType

import msgspec
import pytest
from rich.console import Console
from support.captured_data import CAPTURES, ROOT, require
from support.venues.message_types import (
    HANDMADE,
    KNOWN,
    TYPE_OF,
    messages,
    seen_in_captures,
    seen_in_examples,
    table,
)

from recorder.cli.decode.frame_files import read_frames

FOLDERS = ("binance", "bitfinex", "coinbase", "coinbase_advanced", "figure", "kraken", "okx", "polymarket")
MODULES: dict[str, list[ModuleType]] = {
    name: [
        importlib.import_module(f"recorder.venues.{name}.{file.stem}")
        for file in sorted((ROOT / "recorder/venues" / name).glob("*.py"))
        if file.stem not in ("__init__", "listing", "ids", "v1")
    ]
    for name in FOLDERS
} | {"kraken_v1": [importlib.import_module("recorder.venues.kraken.v1")]}
NO_TYPES = {"OK", "info", "depth"}
"""A status, a word that only codes follow, and Binance's name of depthUpdate in the name of a stream."""


def handled(dialect: str) -> set[str]:
    """Return the names by which the decoders of a dialect distinguish messages."""
    return {name for module in MODULES[dialect] for name in _cases(module)}


def _cases(module: ModuleType) -> set[str]:
    """Return the constants of a module's cases, and the tags of its structs."""
    names = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant):
            constant = node.value.value
            names.add(constant.decode() if isinstance(constant, bytes) else str(constant))
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, msgspec.Struct):
            tag = value.__struct_config__.tag
            if tag not in (None, value.__name__):  # a base of tagged structs has its own name as tag
                names.add(str(tag))
    return names - NO_TYPES


@pytest.mark.parametrize("dialect", sorted(KNOWN))
def test_every_message_a_decoder_distinguishes_is_in_the_table(dialect: str) -> None:
    words = {word.strip(",:") for known in KNOWN[dialect] for word in (known, *known.split())}
    assert handled(dialect) <= words


def test_every_dialect_that_is_decoded_is_in_the_table() -> None:
    assert set(MODULES) == set(KNOWN) == set(TYPE_OF)
    assert len(handled("okx")) > 10


@pytest.mark.parametrize("dialect", sorted(KNOWN))
def test_the_examples_hold_nothing_the_table_does_not_know(dialect: str) -> None:
    for file in (HANDMADE / dialect).glob("*.jsonl"):
        for frame in read_frames(file):
            for message in messages(dialect, frame):
                assert TYPE_OF[dialect](message) in KNOWN[dialect]


def test_the_captures_hold_nothing_the_table_does_not_know() -> None:
    require(CAPTURES)
    for dialect, seen in seen_in_captures().items():
        assert set(seen) <= set(KNOWN[dialect])
        assert seen


def test_a_message_that_no_frame_shows_is_listed_as_never_seen() -> None:
    captured, examples = seen_in_captures(), seen_in_examples()
    console = Console(width=1000)
    with console.capture() as printed:
        console.print(table())
    rows = {
        cells[1].strip(): cells[4] for cells in (line.split("│") for line in printed.get().splitlines()) if cells[1:]
    }
    assert "info 20061" in rows["bitfinex"]
    for dialect, known in KNOWN.items():
        unseen = [kind for kind in known if not (captured[dialect][kind] or examples[dialect][kind])]
        assert rows[dialect].strip() == ", ".join(unseen)
