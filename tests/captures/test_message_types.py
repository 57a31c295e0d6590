"""The table of messages knows every message the decoders handle, and says honestly which were never seen."""

import ast
import inspect
from types import ModuleType

import msgspec
import pytest
from message_types import CAPTURES, HERE, KNOWN, TYPE_OF, messages, seen_in_captures, seen_in_examples, table
from rich.console import Console

from recorder.cli.frame_files import read_frames
from recorder.venues import (
    binance,
    bitfinex,
    coinbase,
    coinbase_advanced,
    figure,
    kraken,
    kraken_v1,
    okx,
    polymarket,
)

MODULES: dict[str, ModuleType] = {
    "binance": binance,
    "bitfinex": bitfinex,
    "coinbase": coinbase,
    "coinbase_advanced": coinbase_advanced,
    "figure": figure,
    "kraken": kraken,
    "kraken_v1": kraken_v1,
    "okx": okx,
    "polymarket": polymarket,
}
NO_TYPES = {"OK", "info", "depth"}
"""A status, a word that only codes follow, and Binance's name of depthUpdate in the name of a stream."""


def handled(module: ModuleType) -> set[str]:
    """Names by which a decoder tells messages: constants of its cases, and tags of its structs."""
    names = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant):
            constant = node.value.value
            names.add(constant.decode() if isinstance(constant, bytes) else str(constant))
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__struct_config__.tag is not None:
            names.add(str(value.__struct_config__.tag))
    return {name for name in names if not name.startswith("_")} - NO_TYPES  # "_": the base of tagged structs


@pytest.mark.parametrize("dialect", sorted(KNOWN))
def test_every_message_a_decoder_tells_apart_is_in_the_table(dialect: str) -> None:
    words = {word.strip(",:") for known in KNOWN[dialect] for word in (known, *known.split())}
    assert handled(MODULES[dialect]) <= words


def test_every_dialect_that_is_decoded_is_in_the_table() -> None:
    assert set(MODULES) == set(KNOWN) == set(TYPE_OF)
    assert len(handled(okx)) > 10


@pytest.mark.parametrize("dialect", sorted(KNOWN))
def test_the_examples_hold_nothing_the_table_does_not_know(dialect: str) -> None:
    for frame in read_frames(HERE / dialect / "handmade.jsonl"):
        for message in messages(dialect, frame):
            assert TYPE_OF[dialect](message) in KNOWN[dialect]


@pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captured data: {CAPTURES} is absent (set TAPEDECK_DATA)")
def test_the_captures_hold_nothing_the_table_does_not_know() -> None:
    for dialect, seen in seen_in_captures().items():
        assert set(seen) <= set(KNOWN[dialect])
        assert seen


def test_what_no_frame_shows_stands_as_never_seen() -> None:
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
