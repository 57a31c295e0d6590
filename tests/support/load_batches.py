"""A writer for kill tests: loads a fixed list of batches from the position of its journal. argv: URL COUNT"""

import sys
import threading
import time
from multiprocessing.synchronize import Event

from recorder.errors import StoreUnavailable
from recorder.position import Position
from recorder.store.batch import Batch
from recorder.store.loader import Store
from support.batches import (
    FIRST,
    JOURNAL,
    batch,
    gap,
    gap_part,
    quotes_part,
    session_part,
    trade,
    trade_part,
    trades_part,
)


def numbered(number: int) -> Batch:
    """Return batch `number` of the list: most are plain, some have duplicates, rejected rows or revisions."""
    start = None if number == 0 else Position(FIRST.segment, FIRST.offset + 1000 * number)
    base = number * 10
    parts = [trades_part(base, base + 10), quotes_part(base, base + 20)]
    if number % 10 == 3:
        parts[0] = trades_part(base - 10, base + 10)
    if number % 10 == 7:
        parts[0] = trade_part([trade(base, size=-1.0), *(trade(base + more) for more in range(1, 10))])
    if number % 5 == 4:
        parts += [gap_part(gap(number // 10, number)), session_part(7, number, base)]
    return batch(start, parts)


def load_all(url: str, count: int, deadline_s: float = 60.0, ready: Event | None = None) -> None:
    """Load the missing ones of the first `count` batches, and wait while the server is unavailable."""
    store = Store(url)
    pause = threading.Event()
    deadline = time.monotonic() + deadline_s
    if ready is not None:
        ready.set()
    while True:
        try:
            position = store.position(JOURNAL)
            done = 0 if position is None else (position.offset - FIRST.offset) // 1000
            while done < count:
                made = numbered(done)
                store.load(made if position else Batch(made.journal_id, made.recorder, None, made.end, made.blocks))
                position, done = made.end, done + 1
            store.close()
            return
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            pause.wait(0.05)


if __name__ == "__main__":
    print("ready", flush=True)
    load_all(sys.argv[1], int(sys.argv[2]))
