"""The number of processes that record a venue changes: nothing is lost, stored twice or left open."""

from collections.abc import Callable

import pytest
from support.fault_rig import Rig


@pytest.mark.timeout(400)
def test_a_venue_moves_to_several_processes_and_back_and_every_item_is_accounted_for(
    make_rig: Callable[..., Rig], database: str
) -> None:
    rig = make_rig(database).up()
    for processes in (2, 3, 1):
        for program in rig.programs:
            if processes == 3:
                rig.kill(program)
            else:
                assert rig.stop(program) == 0
        rig.processes_each = processes
        for program in rig.programs:
            rig.start(program)
        rig.wait_live(90.0)
        rig.prove(60.0)
    recorded = {row[0] for row in rig.query("SELECT DISTINCT recorder FROM session")}
    assert {"recorder-kraken", "recorder-kraken-00", "recorder-kraken-01"} <= recorded
    assert rig.number("SELECT count(*) FROM session WHERE ended_at IS NULL") == 2  # one of each venue
