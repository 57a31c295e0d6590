"""What a notebook begins with: where its data lie and how much of them it takes.

Three variables of the environment decide, so that a notebook runs unchanged on a laptop, in JupyterLab and in a test:

    TAPEDECK_TAPE   a Parquet archive or a postgresql:// address; without it the database of the settings is read, and
                    where there is none yet, a day of real trades from the sample data
    TAPEDECK_DATA   folder of the sample data; without it ../shared/data, seen from the project's folder
    TAPEDECK_QUICK  1: less data and fewer trials, for a first look and for tests
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import chdir, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from analysis.load import Source, open_source
from analysis.load.extent import busiest
from analysis.load.sample import FILE, SampleSource
from recorder.errors import ConfigError, StoreUnavailable

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
_LATELY = (timedelta(minutes=10), timedelta(hours=6), timedelta(days=7))  # what is quiet now may not have been
_MINUTE = timedelta(minutes=1)


class NothingToRead(ConfigError):
    """There is neither tape nor sample data for a notebook; IPython shows the sentence alone, and stops there."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@dataclass(frozen=True)
class Excerpt:
    """A stretch of the tape of one instrument, in whole minutes."""

    source: Source
    origin: str  # where it was found, for a person
    venue: str
    symbol: str
    start: datetime
    end: datetime

    @property
    def where(self) -> tuple[Source, str, str, datetime, datetime]:
        """The first arguments of every function of `analysis.load`."""
        return self.source, self.venue, self.symbol, self.start, self.end

    def __str__(self) -> str:
        span = f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"
        return f"{self.venue} {self.symbol}, {span}, from {self.origin}"


def sized(full: T, quick: T, environ: Mapping[str, str] = os.environ) -> T:
    """One of two sizes: the second where TAPEDECK_QUICK is 1."""
    return quick if environ.get("TAPEDECK_QUICK") == "1" else full


def sample_data(folder: str, environ: Mapping[str, str] = os.environ) -> Path:
    """A folder of the sample data.

    Raises:
        NothingToRead: it is not there.
    """
    path = Path(environ.get("TAPEDECK_DATA") or ROOT.parent / "shared" / "data") / folder
    if not path.is_dir():
        raise NothingToRead(
            f"Nothing to show: there is no sample data in {path}. Set TAPEDECK_DATA to its folder and run this again."
        )
    return path


def tape(
    hours: float = 3.0,
    *,
    needs: tuple[str, ...] = ("trade",),
    venue: str | None = None,
    symbol: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Excerpt:
    """The latest stretch of a tape: of the instrument with the most rows lately, or of the one that is named.

    Args:
        hours: How long at most.
        needs: Channels of which there must be rows: trade, quote, book.
        venue: Of the instrument; with `symbol`.
        symbol: In the venue's spelling.
        environ: Stands in for the environment in tests.

    Raises:
        NothingToRead: no tape at hand has these channels.
    """
    tried = []
    for origin, source in _sources(environ):
        tried.append(origin)
        with suppress(StoreUnavailable), source.reading() as reader:
            asked = (venue, symbol) if venue is not None and symbol is not None else None
            looks = (busiest(reader, frozenset(needs), lately, asked) for lately in _LATELY)
            found = next((one for one in looks if one is not None), None)
            if found is not None:
                one, last = found
                end = _minute(last) + _MINUTE
                start = max(_minute(one.first_seen), end - timedelta(hours=hours))
                return Excerpt(source, origin, one.venue, one.symbol, start, end)
    what = f"{', '.join(needs)} rows" + (f" of {venue} {symbol}" if symbol else "")
    raise NothingToRead(
        f"Nothing to show: no tape with {what} in {', '.join(tried) or 'any place'}. "
        "`make run` records one in a minute; or set TAPEDECK_TAPE to an archive that tapedeck-analysis export wrote."
    )


def _sources(environ: Mapping[str, str]) -> Iterator[tuple[str, Source]]:
    """What may hold a tape, best first."""
    named = environ.get("TAPEDECK_TAPE")
    if named:
        url = named.startswith(("postgresql://", "postgres://"))
        yield ("the database of TAPEDECK_TAPE" if url else f"the archive {named}"), open_source(named)
        return
    # A kernel works in notebooks/; .env, tapedeck.toml and var/ are those of the project.
    place = chdir(ROOT) if Path.cwd() == ROOT / "notebooks" else nullcontext()
    with suppress(StoreUnavailable):
        with place:
            found = open_source(None)
        yield "the database of the settings", found
    folder = Path(environ.get("TAPEDECK_DATA") or ROOT.parent / "shared" / "data") / "market_history"
    if (folder / FILE).is_file():
        yield "the sample data", SampleSource(folder)


def _minute(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(second=0, microsecond=0)
