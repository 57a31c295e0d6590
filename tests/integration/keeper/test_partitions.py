"""Partitions that the keeper makes ahead of their days."""

import time
from contextlib import closing

from support.keeping.archives import query, work

from recorder.keeper.partitions import ensure_ahead, make_partitions
from recorder.store.database import KEEPER, connect

TODAY_S = int(time.time()) // 86_400 * 86_400


def ahead(url: str, days: int) -> tuple[int, int]:
    with closing(connect(url, application_name="keeper", role=KEEPER)) as connection:
        return ensure_ahead(connection, days, TODAY_S)


def test_partitions_of_all_tables_exist_from_yesterday_on_and_the_last_is_made_first(database: str) -> None:
    assert ahead(database, 3) == (5 * 5, 0)
    text = "SELECT relname FROM pg_class WHERE relname ~ '^trade_[0-9]{8}$' ORDER BY oid"
    names = [str(name) for (name,) in query(database, text)]
    assert names == sorted(names, reverse=True)
    assert len(names) == 5
    assert ahead(database, 3) == (0, 0)


def test_a_dropped_partition_is_left_to_the_writer_which_declares_its_loss(database: str) -> None:
    ahead(database, 1)
    query(database, f"DROP TABLE partition.trade_{time.strftime('%Y%m%d', time.gmtime(TODAY_S))}")
    assert ahead(database, 1) == (0, 0)
    query(database, f"SELECT declare_dropped_partition('trade', '{time.strftime('%F', time.gmtime(TODAY_S))}')")
    assert ahead(database, 1) == (1, 0)


def test_the_job_makes_what_the_settings_say_over_the_end_of_a_year(database: str) -> None:
    done = make_partitions(work(database, {"partitions_ahead_days": 2}, now=time.time()))
    assert (done.state, done.detail) == ("done", "20 made")
    assert make_partitions(work(database, {"partitions_ahead_days": 2}, now=time.time())).state == "skipped"
