"""`tapedeck-analysis audit`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from analysis.cli.common import From, instant, pair, source_of
from analysis.cli.tables import print_table
from analysis.errors import ArchiveError
from recorder.errors import ConfigError
from recorder.process.terminal import say

if TYPE_CHECKING:
    from analysis.audit import Audit
    from analysis.feature_tables import Recipe

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(audit)


def audit(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="Feature table that `features` wrote.")] = None,
    of: Annotated[str | None, typer.Option("--of", help="Without a file: venue:symbol to audit.")] = None,
    start: Annotated[str | None, typer.Option("--start", help="Without a file: first instant, UTC.")] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="Without a file: first instant after (exclusive), UTC.")
    ] = None,
    kind: Annotated[
        Literal["bars", "snapshots"], typer.Option("--set", help="Without a file: which features.")
    ] = "bars",
    times: Annotated[int, typer.Option("--times", min=1, help="How many instants to audit.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Seed for the choice of instants.")] = 1,
    archive: From = None,
) -> int:
    """Prove that features know only the past, and that a feature table still follows from the recording.

    Truncation computes every feature at some instants from all rows and from the rows received by then; both must agree
    to the bit. Recomputation, with a file, computes all of its values again and compares them.

    Exit code 1 when a feature fails, or when every feature was null.

    Example: `tapedeck-analysis audit btc.parquet --from archive`
    """
    import numpy as np

    from analysis import audit, feature_tables

    source = source_of(context.obj, archive)
    found: dict[str, Audit] = {}
    if file is not None:
        manifest, table = feature_tables.read(file)
        recipe = manifest.recipe
        tape = feature_tables.tape_of(source, recipe)
        again = feature_tables.compute(tape, recipe.times)
        if set(again) != set(manifest.columns):
            raise ArchiveError(
                f"{file} has other features than this version computes; write it with `tapedeck-analysis features`"
            )
        found["recomputation"] = audit.recomputation(recipe.times, feature_tables.columns_of(manifest, table), again)
    else:
        recipe = _recipe(of, start, end, kind)
        tape = feature_tables.tape_of(source, recipe)
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(recipe.times, min(times, len(recipe.times)), replace=False))
    found["truncation"] = audit.truncation(tape, chosen, feature_tables.at)
    say(f"{recipe.venue} {recipe.symbol}, seed {seed}")
    for name, one in found.items():
        _print(name, one)
    return 0 if all(one.passed and _proves(one) for one in found.values()) else 1


def _recipe(of: str | None, start: str | None, end: str | None, kind: Literal["bars", "snapshots"]) -> "Recipe":
    from analysis.feature_tables import Recipe

    if of is None or start is None or end is None:
        raise ConfigError("give a file of features, or --of venue:symbol with --start and --end")
    venue, symbol = pair(of)
    return Recipe(kind=kind, venue=venue, symbol=symbol, start=instant(start), end=instant(end), every_s=1.0)


def _proves(one: "Audit") -> bool:
    return len(one.always_null) < len(one.features)


def _print(name: str, one: "Audit") -> None:
    failed = sorted({finding.feature for finding in one.findings})
    counts = [f"{len(one.features)}", f"{one.checked:,}", f"{len(failed)}", f"{len(one.always_null)}"]
    print_table(["audit", "features", "values compared", "failed", "always null"], [[name, *counts]])
    if one.always_null:
        say(f"always null, so nothing is proven: {', '.join(one.always_null)}")
    if one.findings:
        shown = one.findings[:_SHOWN]
        rows = [[found.feature, _when(found.t), f"{found.expected}", f"{found.found}"] for found in shown]
        print_table(["feature", "at", "expected", "found"], rows)


def _when(t: int) -> str:
    return datetime.fromtimestamp(t / 1e9, UTC).isoformat(" ", "milliseconds")
