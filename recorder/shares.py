"""Several processes record one venue: which symbols each carries, and how each is called.

All streams of a symbol are of one process: one clock orders its trades against its book. The names are those of the
journal folder, the health file, the log and the process under supervisord.
"""

import argparse
import re
from typing import NamedTuple, Self

from recorder.instruments import stable_hash64

ALL_OF = 1


class Share(NamedTuple):
    """One process of the recorder of a venue."""

    number: int = 0  # from 0
    processes: int = ALL_OF

    @classmethod
    def parse(cls, text: str) -> Self:
        """A share as the command line says it: K/N with 0 <= K < N."""
        number, slash, processes = text.partition("/")
        if slash and number.isdecimal() and processes.isdecimal() and int(number) < int(processes):
            return cls(int(number), int(processes))
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N, the share K (from 0) of N processes")

    def carries(self, symbol: str) -> bool:
        """Whether this process records the symbol."""
        return share_of(symbol, self.processes) == self.number

    def recorder(self, venue: str) -> str:
        """Name of this process."""
        return recorder_names(venue, self.processes)[self.number]


def share_of(symbol: str, processes: int) -> int:
    """The process, from 0, that records a symbol: the same in every process, on every host.

    The highest of one hash per process wins (rendezvous hashing), so one process more takes its share from all others
    and moves nothing between them.
    """
    return max(range(processes), key=lambda number: stable_hash64(f"{number}:{symbol}"))


def recorder_names(venue: str, processes: int) -> list[str]:
    """Names of the processes that record a venue: recorder-kraken, or recorder-kraken-00, recorder-kraken-01, ..."""
    return [f"recorder-{venue}"] if processes == ALL_OF else [f"recorder-{venue}-{n:02d}" for n in range(processes)]


def venue_of(program: str) -> str | None:
    """The venue, as the settings call it, that a process of this name records; None for other programs."""
    found = re.fullmatch(r"recorder-(.+?)(-\d\d)?", program)
    return found[1] if found else None


def most_links(connects_per_minute: float, processes: int, max_links: int | None) -> int:
    """Connections one process may have, at least 1.

    Args:
        connects_per_minute: What the venue allows one address.
        processes: How many share that.
        max_links: What the settings say; None leaves it to the venue. None of them publishes how many connections may
            be open, but each limits how many may be opened: by default there are as many as all processes together
            can open anew within a minute, after a lost network.
    """
    return max_links or max(1, int(connects_per_minute) // processes)
