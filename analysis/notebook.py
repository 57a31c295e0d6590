"""Data for a notebook: which recording it reads, and how much of it.

Three environment variables decide, so that a notebook runs unchanged on a laptop, in JupyterLab and in a test:

    TAPEDECK_TAPE   a Parquet archive or a postgresql:// address; without it, the database of the settings is read, or,
                    when there is none yet, a day of real trades from the sample data
    TAPEDECK_DATA   folder of the sample data; without it, ../shared/data relative to the project's folder
    TAPEDECK_QUICK  1 uses less data and fewer trials, for a first look and for tests
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import chdir, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from analysis.load import Source, open_source
from analysis.load.extent import Busiest, busiest
from analysis.load.sample import FILE, SampleSource
from analysis.load.source import to_ns
from recorder.errors import ConfigError, StoreUnavailable

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
ENOUGH_ROWS = 300
"""Rows of each needed channel with which a recent excerpt shows something."""

_RECENT = (timedelta(minutes=10), timedelta(hours=6), timedelta(days=7))  # an instrument may be quiet just now
_MINUTE = timedelta(minutes=1)


class NothingToRead(ConfigError):
    """There is neither a recording nor sample data for a notebook; IPython prints the message without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@dataclass(frozen=True)
class Excerpt:
    """A range of the recording of one instrument, in whole minutes."""

    source: Source
    origin: str  # where it was found, for a person
    venue: str
    symbol: str
    start: datetime
    end: datetime

    @property
    def where(self) -> tuple[str, str, datetime, datetime]:
        """Return (venue, symbol, start, end), the first arguments of the functions of `analysis.load`."""
        return self.venue, self.symbol, self.start, self.end

    @property
    def start_ns(self) -> int:
        """Return `start` as ns since 1970."""
        return to_ns(self.start)

    @property
    def end_ns(self) -> int:
        """Return `end` as ns since 1970."""
        return to_ns(self.end)

    def __str__(self) -> str:
        span = f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"
        return f"{self.venue} {self.symbol}, {span}, from {self.origin}"


def sized(full: T, quick: T, environ: Mapping[str, str] = os.environ) -> T:
    """Return `quick` when TAPEDECK_QUICK is 1, else `full`."""
    return quick if environ.get("TAPEDECK_QUICK") == "1" else full


def sample_data(folder: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return a folder of the sample data.

    Raises:
        NothingToRead: The folder does not exist.
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
    """Return the latest range of a recording, of the busiest instrument or of a named one.

    The busiest instrument has the most rows in the scarcest of the needed channels, so that an instrument with many
    trades and hardly any quotes is not chosen for a notebook that compares the two.

    Args:
        hours: Maximum length of the range.
        needs: Channels that must have rows: trade, quote, book.
        venue: Venue of the instrument; with `symbol`.
        symbol: Symbol in the venue's spelling.
        environ: Replaces the environment in tests.

    Raises:
        NothingToRead: No recording has rows of all these channels.
    """
    tried = []
    named = (venue, symbol) if venue is not None and symbol is not None else None
    for origin, source in _sources(environ):
        tried.append(origin)
        with suppress(StoreUnavailable), source.reading() as reader:
            found: Busiest | None = None
            for recent in _RECENT:
                found = busiest(reader, frozenset(needs), recent, named) or found
                if found is not None and found.rows >= ENOUGH_ROWS:
                    break
            if found is not None:
                one = found.instrument
                end = _minute(found.last) + _MINUTE
                start = max(_minute(one.first_seen), end - timedelta(hours=hours))
                return Excerpt(source, origin, one.venue, one.symbol, start, end)
    what = f"{', '.join(needs)} rows" + (f" of {venue} {symbol}" if symbol else "")
    raise NothingToRead(
        f"Nothing to show: found no recording with {what} in {', '.join(tried) or 'any place'}. "
        "`make run` records one in a minute; or set TAPEDECK_TAPE to an archive that `tapedeck-analysis export` wrote."
    )


def _sources(environ: Mapping[str, str]) -> Iterator[tuple[str, Source]]:
    """Yield the places that may hold a recording, preferred ones first, each with its name."""
    named = environ.get("TAPEDECK_TAPE")
    if named:
        url = named.startswith(("postgresql://", "postgres://"))
        yield ("the database of TAPEDECK_TAPE" if url else f"the archive {named}"), open_source(named)
        return
    # A kernel starts in notebooks/, but .env, tapedeck.toml and var/ belong to the project's folder.
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
