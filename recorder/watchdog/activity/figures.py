"""What traded and what arrived in an interval: types, and the file that `tapedeck status --trades` reads.

Times are unix seconds.
"""

import math
import os
from pathlib import Path

import msgspec

from recorder.process import files
from recorder.process.log import get_logger
from recorder.watchdog import FOLDER

_SIZE_MAX = 4 << 20

_log = get_logger(__name__)


class InstrumentTrades(msgspec.Struct, frozen=True):
    """The trades of one instrument in an interval, by the venue's clock. Prices are in its quote currency."""

    venue: str
    symbol: str
    trades: int
    vwap: float | None  # None where no size is of an order of magnitude that can be summed
    high: float
    low: float
    volume: float | None  # base units
    bought: float  # volume of trades whose taker bought
    sold: float  # volume of trades whose taker sold
    large: int  # trades
    last_at: float

    @property
    def buy_sell_ratio(self) -> float | None:
        """Volume bought by volume sold; None where nothing was sold, or the venue names no side."""
        ratio = self.bought / self.sold if self.sold else math.inf
        return ratio if math.isfinite(ratio) else None


class VenueTrades(msgspec.Struct, frozen=True):
    """The trades of all instruments of one venue in an interval."""

    venue: str
    trades: int
    large: int
    instruments: int  # that traded


class TradeFigures(msgspec.Struct, frozen=True):
    """All trades of the interval [since, until), as Postgres has them."""

    since: float
    until: float
    venues: list[VenueTrades]
    instruments: list[InstrumentTrades]  # those with the most trades first

    @property
    def left_out(self) -> int:
        """Instruments that traded and are not listed."""
        return sum(venue.instruments for venue in self.venues) - len(self.instruments)


class VenueTraffic(msgspec.Struct, frozen=True):
    """What the recorders of one venue received in the last interval, by our clock."""

    venue: str
    messages_per_s: float
    reconnects: int
    errors: int  # connections that failed or were lost, and messages that went to quarantine
    last_message_s: float | None  # before the end of the interval; None while no connection is open


class Activity(msgspec.Struct, frozen=True):
    """All figures of the last interval."""

    interval_s: float
    traffic: list[VenueTraffic] = []
    trades: TradeFigures | None = None  # None: unknown
    problem: str = ""  # why the trades are unknown


def interval(now: float, length_s: float) -> tuple[float, float]:
    """Return the last interval that is over; intervals begin at multiples of their length."""
    until = math.floor(now / length_s) * length_s
    return until - length_s, until


def read_activity(home: Path) -> Activity | None:
    """Return what the watchdog wrote last; None where it has written nothing, or the file is damaged."""
    path = home / FOLDER / "activity.json"
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_SIZE_MAX), type=Activity)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("activity.unreadable", path=str(path), error=str(error)[:200])
        return None


def write_activity(home: Path, activity: Activity) -> None:
    """Replace the file. It is not synced: the next interval replaces it."""
    path = home / FOLDER / "activity.json"
    draft = path.with_name(f"activity.json.{os.getpid()}.new")
    try:
        files.make_home(path.parent)
        draft.write_bytes(msgspec.json.encode(activity))
        draft.replace(path)
    except OSError as error:
        _log.warning("activity.not_saved", error=str(error))
