"""Record one venue, or one shard of it, into a journal."""

import argparse
import sys
from functools import partial

from recorder.capture.main import main
from recorder.process.program import run
from recorder.process.slots import SLOTS, program_of
from recorder.shards import Shard


def start() -> int:
    """Run the program with the arguments of the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="recorder", description=__doc__)
    parser.add_argument("venue")
    parser.add_argument(
        "--shard", type=Shard.parse, default=Shard(), metavar="K/N", help="shard K, from 0, of N processes"
    )
    parser.add_argument("--slot", choices=SLOTS, default="a", help="which of the two programs of this recorder it is")
    given = parser.parse_args()
    program = program_of(given.shard.recorder(given.venue), given.slot)
    return run(program, partial(main, venue=given.venue, shard=given.shard, slot=given.slot))


if __name__ == "__main__":
    sys.exit(start())
