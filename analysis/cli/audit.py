"""`tapedeck-analysis audit`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from analysis.cli.common import From, console, instant, pair, source_of
from analysis.errors import ArchiveError
from recorder.errors import ConfigError

if TYPE_CHECKING:
    from analysis.audit import Audit
    from analysis.published import Recipe

Kind = Annotated[Literal["bars", "snapshots"], typer.Option("--set", help="Without a file: which features.")]

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(audit)


def audit(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="Features with their manifest, as `features` wrote them.")] = None,
    of: Annotated[str | None, typer.Option("--of", help="Without a file: venue:symbol to audit.")] = None,
    start: Annotated[str | None, typer.Option("--start", help="Without a file: first instant, UTC.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Without a file: first instant after, UTC.")] = None,
    kind: Annotated[
        Literal["bars", "snapshots"], typer.Option("--set", help="Without a file: which features.")
    ] = "bars",
    times: Annotated[int, typer.Option("--times", min=1, help="How many instants to audit.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice of instants.")] = 1,
    archive: From = None,
) -> int:
    """Prove that features know only the past, and that published ones are what the tape still gives.

    Truncation: every feature is computed at some instants from the whole tape and from the tape as it was then, and the
    two must agree to the bit. Recomputation, with a file: all its values are computed again from the tape.

    Exit code 1 when a feature fails, or when nothing was known of any.

    Example: `tapedeck-analysis audit btc.parquet --from archive`
    """
    import numpy as np

    from analysis import audit, published

    source = source_of(context.obj, archive)
    found: dict[str, Audit] = {}
    if file is not None:
        manifest, table = published.read(file)
        recipe = manifest.recipe
        tape = published.tape_of(source, recipe)
        again = published.compute(tape, recipe.times)
        if set(again) != set(manifest.columns):
            raise ArchiveError(f"{file} has other features than this version computes; compute it again")
        found["recomputation"] = audit.recomputation(recipe.times, published.columns_of(manifest, table), again)
    else:
        recipe = _recipe(of, start, end, kind)
        tape = published.tape_of(source, recipe)
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(recipe.times, min(times, len(recipe.times)), replace=False))
    found["truncation"] = audit.truncation(tape, chosen, published.at)
    typer.echo(f"{recipe.venue} {recipe.symbol}, seed {seed}")
    for name, one in found.items():
        _tell(name, one)
    return 0 if all(one.passed and _proves(one) for one in found.values()) else 1


def _recipe(of: str | None, start: str | None, end: str | None, kind: Literal["bars", "snapshots"]) -> "Recipe":
    from analysis.published import Recipe

    if of is None or start is None or end is None:
        raise ConfigError("name a file of features, or --of venue:symbol with --start and --end")
    venue, symbol = pair(of)
    return Recipe(kind=kind, venue=venue, symbol=symbol, start=instant(start), end=instant(end), every_s=1.0)


def _proves(one: "Audit") -> bool:
    return len(one.always_null) < len(one.features)


def _tell(name: str, one: "Audit") -> None:
    failed = sorted({finding.feature for finding in one.findings})
    table = Table(title=name, title_justify="left")
    for head in ("features", "values compared", "failed", "never known"):
        table.add_column(head, justify="right")
    table.add_row(f"{len(one.features)}", f"{one.checked:,}", f"{len(failed)}", f"{len(one.always_null)}")
    console().print(table)
    if one.always_null:
        typer.echo(f"nothing is proven of: {', '.join(one.always_null)}")
    if one.findings:
        wrong = Table("feature", "at", "expected", "found")
        for finding in one.findings[:_SHOWN]:
            wrong.add_row(finding.feature, _when(finding.t), f"{finding.expected}", f"{finding.found}")
        console().print(wrong)


def _when(t: int) -> str:
    return datetime.fromtimestamp(t / 1e9, UTC).isoformat(" ", "milliseconds")
