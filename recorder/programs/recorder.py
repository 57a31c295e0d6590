"""Record one venue, or one shard of it, into a journal."""

import argparse
import sys
from functools import partial

from recorder.capture.main import main
from recorder.process.program import run
from recorder.shards import Shard


def start() -> int:
    """Run the program with the arguments of the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="recorder", description=__doc__)
    parser.add_argument("venue")
    parser.add_argument(
        "--shard", type=Shard.parse, default=Shard(), metavar="K/N", help="shard K, from 0, of N processes"
    )
    given = parser.parse_args()
    return run(given.shard.recorder(given.venue), partial(main, venue=given.venue, shard=given.shard))


if __name__ == "__main__":
    sys.exit(start())
