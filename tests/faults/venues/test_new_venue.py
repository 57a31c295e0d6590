"""A new venue is added as recorder/venues/README.md says, and recorded like the others."""

from pathlib import Path

import pytest
from support.fault_rig import Rig
from support.venues.tern import Tern
from support.venues.tern_simulator import FakeTern

from recorder.simulator import build
from recorder.venues import VENUES

REGISTERED = """
import sys
from support.venues.tern import Tern
from recorder.venues import VENUES
VENUES["tern"] = Tern
sys.argv[0] = sys.argv.pop(1)
exec(compile(open(sys.argv[0]).read(), sys.argv[0], "exec"))
"""


class WithTern(Rig):
    """A rig whose recorders know the new venue, as if the registry of venues named it."""

    def command(self, program: str) -> list[str]:
        python, *words = super().command(program)
        return [python, "-c", REGISTERED, *words]


@pytest.mark.timeout(180)
def test_a_new_venue_is_recorded_completely_through_all_faults(
    tmp_path: Path, seed: int, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VENUES, "tern", Tern)
    monkeypatch.setitem(build.VENUES, "tern", FakeTern)
    with WithTern(tmp_path / "rig", database, seed, venues=("tern",), symbols={"tern": ("BTC/USD", "ETH/USD")}) as rig:
        rig.up()
        rig.do("tern", "skip", times=1, symbol="BTC/USD", channel="book")
        rig.wait("the hole in the book is noticed", lambda: bool(rig.gaps("cause = 'sequence' AND channel = 'book'")))
        rig.do("tern", "skip", times=3, symbol="ETH/USD", channel="trade")
        rig.wait("and the one in the trades", lambda: bool(rig.gaps("cause = 'sequence' AND channel = 'trade'")))
        rig.do("tern", "close")
        rig.wait("and the lost connection", lambda: bool(rig.gaps("cause = 'disconnect' AND ended_at IS NOT NULL")))
        report = rig.prove()
        assert {(one.channel, one.symbol) for one in report.streams} == {
            (channel, symbol) for channel in Tern.channels for symbol in ("BTC/USD", "ETH/USD")
        }
        assert {row[0] for row in rig.query("SELECT DISTINCT aggressor::text FROM trade")} == {"b", "s"}
        books = [gap for gap in rig.gaps("cause = 'sequence'") if gap["channel"] == "book"]
        assert {gap["symbol"] for gap in books} == {"BTC/USD"}  # the break of one symbol affects no other
