"""The processes that record one venue: which symbols each carries, and the name of each.

One process carries all streams of a symbol: one clock orders its trades against its book. The name is that of the
journal folder, the health file, the log and the process under supervisord. Each has a second slot with the suffix -b,
from which a new process takes over (recorder/process/slots.py).
"""

import argparse
import re
from typing import NamedTuple, Self

from recorder.identity import stable_hash64

ALL_OF = 1


class Shard(NamedTuple):
    """One process of the recorder of a venue."""

    number: int = 0  # from 0
    processes: int = ALL_OF

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the shard of a command line: K/N with 0 <= K < N."""
        number, slash, processes = text.partition("/")
        if slash and number.isdecimal() and processes.isdecimal() and int(number) < int(processes):
            return cls(int(number), int(processes))
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N, the shard K (from 0) of N processes")

    def __str__(self) -> str:
        return f"{self.number}/{self.processes}"

    def carries(self, symbol: str) -> bool:
        """Return whether this process records the symbol."""
        return shard_of(symbol, self.processes) == self.number

    def recorder(self, venue: str) -> str:
        """Return the name of this process."""
        return recorder_names(venue, self.processes)[self.number]


def shard_of(symbol: str, processes: int) -> int:
    """Return the number, from 0, of the process that records a symbol: the same in every process, on every host.

    The highest of one hash per process wins (rendezvous hashing), so an additional process takes symbols from all
    others and moves none between them.
    """
    return max(range(processes), key=lambda number: stable_hash64(f"{number}:{symbol}"))


def recorder_names(venue: str, processes: int) -> list[str]:
    """Return the names of the processes of a venue: recorder-kraken, or recorder-kraken-00, recorder-kraken-01, ..."""
    return [f"recorder-{venue}"] if processes == ALL_OF else [f"recorder-{venue}-{n:02d}" for n in range(processes)]


def slot_names(venue: str, processes: int) -> list[str]:
    """Return the names of the programs of a venue in both slots: each recorder, and the same with the suffix -b."""
    return [name + slot for name in recorder_names(venue, processes) for slot in ("", "-b")]


def venue_of(program: str) -> str | None:
    """Return the venue, by its key in the settings, that a program of either slot records; None for other programs."""
    found = re.fullmatch(r"recorder-(.+?)(-\d\d)?(-b)?", program)
    return found[1] if found else None


def most_links(connects_per_minute: float, processes: int, max_links: int | None) -> int:
    """Return how many connections one process may have, at least 1.

    Args:
        connects_per_minute: The limit of the venue for one address.
        processes: How many processes share that.
        max_links: The limit of the settings. Without it the limit is the number of connections that all processes
            together can open within a minute, after a lost network: venues publish how many connections may be
            opened, and none publishes how many may be open.
    """
    return max_links or max(1, int(connects_per_minute) // processes)
