"""The checker is proved by mutation: every single change of a clean database is found, and described by its kind."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest
from faults.oracle.checker import COVERED, check
from faults.oracle.lab import SYMBOLS, Lab
from psycopg2 import extensions
from support.database_server import DatabaseServer
from support.machine.ports import free_port

# A row that lies in no gap and near none, as (table, ctid) of its partition.
_ROW = """
    SELECT t.tableoid AS part, t.ctid AS place FROM {table} t
     WHERE {where} AND NOT EXISTS (
         SELECT FROM hole h WHERE h.instrument_id = t.instrument_id AND h.channel = '{table}'
            AND t.ts_recv BETWEEN h.started_at - interval '0.3 s' AND h.ended_at + interval '0.3 s')
     ORDER BY random() LIMIT 1"""
# The gaps that alone cover a missing item.
_NEEDED = """
    WITH pairs AS (
        SELECT g.gap_id, g.channel, m.item, m.sequence
          FROM missing m JOIN hole g ON (g.venue, g.symbol, g.channel) = (m.venue, m.symbol, m.channel)
           AND g.started_at <= m.until AND g.ended_at >= m.since
           AND coalesce(m.sequence <> g.last_id, true) AND coalesce(m.sequence <> g.first_id, true))
    SELECT gap_id, max(sequence) AS newest FROM pairs p
     WHERE channel = '{channel}' AND (SELECT count(*) FROM pairs o WHERE o.item = p.item) = 1
     GROUP BY gap_id ORDER BY random() LIMIT 1"""
MANY = 10**6
_SPOILT = 10  # items that are lost one by one until a gap covers one of them alone


class Mutation(NamedTuple):
    """One change of one row, and the kind of problem that it must be found as."""

    name: str
    statement: str
    problem: str
    most: int = 1  # problems of that kind
    also: frozenset[str] = frozenset({"ledger"})  # what it may be found as, too


def _on_row(table: str, statement: str, where: str = "true") -> str:
    chosen = _ROW.format(table=table, where=where)
    return f"WITH chosen AS MATERIALIZED ({chosen}) {statement.format(this='(t.tableoid, t.ctid) = (part, place)')}"


def _on_gap(channel: str, statement: str) -> str:
    return f"WITH needed AS MATERIALIZED ({_NEEDED.format(channel=channel)}) {statement}"


_QUOTE = "instrument_id, ts_recv, ts_event, session_id, frame_seq, sequence"
_TRADE = "instrument_id, trade_id, ts_event + interval '1 s', ts_recv, price, size, aggressor, venue_trade_id"
MUTATIONS = [
    Mutation("trade deleted", _on_row("trade", "DELETE FROM trade t USING chosen WHERE {this}"), "missing"),
    Mutation("quote deleted", _on_row("quote", "DELETE FROM quote t USING chosen WHERE {this}"), "missing"),
    Mutation(
        "delta of a book deleted",
        _on_row("book", "DELETE FROM book t USING chosen WHERE {this}", "t.kind = 'd'"),
        "missing",
    ),
    Mutation(
        "price of a trade changed",
        _on_row("trade", "UPDATE trade t SET price = price + 0.01 FROM chosen WHERE {this}"),
        "wrong value",
    ),
    Mutation(
        "side of a trade changed",
        _on_row(
            "trade",
            "UPDATE trade t SET aggressor = CASE aggressor WHEN 'b' THEN 's' ELSE 'b' END::\"char\""
            " FROM chosen WHERE {this}",
        ),
        "wrong value",
    ),
    Mutation(
        "price of a quote changed",
        _on_row("quote", "UPDATE quote t SET ask = ask + 0.01 FROM chosen WHERE {this}"),
        "wrong value",
    ),
    Mutation(
        "price in a book changed",
        _on_row(
            "book",
            "UPDATE book t SET bids[1][1] = bids[1][1] + 0.01 FROM chosen WHERE {this}",
            "t.kind = 'd' AND cardinality(t.bids) > 0",
        ),
        "wrong value",
    ),
    Mutation(
        "size in a snapshot of Binance changed",
        "UPDATE book t SET asks[3][2] = asks[3][2] / 2 WHERE (tableoid, ctid) = (SELECT b.tableoid, b.ctid"
        " FROM book b JOIN instrument i USING (instrument_id) WHERE i.venue = 'binance' AND b.kind = 's' LIMIT 1)",
        "wrong snapshot",
    ),
    Mutation(
        "quote stored twice",
        _on_row(
            "quote",
            f"INSERT INTO quote ({_QUOTE}, bid, bid_size, ask, ask_size) SELECT {_QUOTE}, bid, bid_size,"
            " ask, ask_size FROM quote t, chosen WHERE {this}",
        ),
        "stored twice",
    ),
    Mutation(
        "trade stored twice",
        _on_row("trade", f"INSERT INTO trade SELECT {_TRADE} FROM trade t, chosen WHERE {{this}}"),
        "stored twice",
        also=frozenset({"ledger", "wrong value"}),  # since its time is another
    ),
    Mutation(
        "quote invented",
        _on_row(
            "quote",
            f"INSERT INTO quote ({_QUOTE}, bid, bid_size, ask, ask_size) SELECT {_QUOTE}, bid,"
            " bid_size + 1000, ask, ask_size FROM quote t, chosen WHERE {this}",
        ),
        "never sent",
    ),
    *(
        mutation
        for channel in ("trade", "quote")
        for mutation in (
            Mutation(
                f"gap of {channel} deleted",
                _on_gap(channel, "DELETE FROM gap g USING needed n WHERE g.gap_id = n.gap_id"),
                "missing",
                MANY,
            ),
            Mutation(
                f"gap of {channel} called healed",
                _on_gap(channel, "UPDATE gap g SET state = 'healed' FROM needed n WHERE g.gap_id = n.gap_id"),
                "missing",
                MANY,
            ),
        )
    ),
    Mutation(
        "gap of a book deleted that was sent to no connection",
        "DELETE FROM gap WHERE gap_id = (SELECT g.gap_id FROM missing m JOIN hole g"
        " ON (g.venue, g.symbol, g.channel) = (m.venue, m.symbol, m.channel) AND m.channel = 'book' AND NOT m.sent"
        " AND m.sequence > g.last_id AND m.sequence < g.first_id LIMIT 1)",
        "missing",
        MANY,
    ),
    Mutation(
        "gap of trade shortened at its front",
        _on_gap("trade", "UPDATE gap g SET last_id = n.newest FROM needed n WHERE g.gap_id = n.gap_id"),
        "missing",
        MANY,
    ),
    Mutation(
        "gap of quote moved an hour back",
        _on_gap(
            "quote",
            "UPDATE gap g SET started_at = started_at - interval '1 h', ended_at = ended_at - interval '1 h',"
            " last_id = NULL, first_id = NULL FROM needed n WHERE g.gap_id = n.gap_id",
        ),
        "missing",
        MANY,
    ),
    Mutation(
        "gap made far too wide",
        "UPDATE gap g SET started_at = started_at - interval '1 h', ended_at = ended_at + interval '1 h',"
        " last_id = NULL, first_id = NULL WHERE gap_id = (SELECT gap_id FROM hole h JOIN matched m"
        " ON (m.venue, m.symbol, m.channel) = (h.venue, h.symbol, h.channel) GROUP BY gap_id"
        " ORDER BY count(*) DESC LIMIT 1)",
        "gap over stored rows",
    ),
    Mutation(
        "end of a gap removed",
        _on_gap("trade", "UPDATE gap g SET ended_at = NULL FROM needed n WHERE g.gap_id = n.gap_id"),
        "gap without end",
    ),
    Mutation(
        "sum in the ledger raised",
        "UPDATE load_ledger SET offered = offered + 1, inserted = inserted + 1 WHERE (journal_id, segment, table_name)"
        " = (SELECT journal_id, segment, table_name FROM load_ledger WHERE table_name = 'book' LIMIT 1)",
        "ledger",
    ),
    Mutation(
        "session ended before its begin",
        "UPDATE session SET ended_at = started_at - interval '1 s' WHERE session_id = (SELECT min(session_id)"
        " FROM session)",
        "session",
    ),
    Mutation(
        "session deleted",
        "DELETE FROM session WHERE session_id = (SELECT session_id FROM quote LIMIT 1)",
        "row without session",
        2,  # one line for the quotes and one for the books
    ),
]


@pytest.fixture
def lab(tmp_path: Path, database_server: DatabaseServer, seed: int) -> Iterator[Lab]:
    """Yield a lab that has lost some items of every channel, declared, and stored the others."""
    with Lab(tmp_path / "lab", database_server, [free_port() for _ in SYMBOLS], seed) as lab:
        lab.wait_flowing()
        lab.pause(2)
        for program in lab.recorders:
            lab.kill(program)
        lab.pause(1)
        for program in lab.recorders:
            lab.start(program)
        lab.wait("enough is sent", lambda: len(lab.log.items) > 20 * COVERED)
        lab.wait_flowing()
        for channel in ("trade", "quote", "book"):
            lab.spoil("kraken", "word", channel)
            lab.pause(1)
        for _ in range(_SPOILT):
            lab.wait_flowing()
            lacking = [channel for channel in ("trade", "quote") if not needed_gap(lab, channel)]
            if not lacking:
                break
            lab.spoil("kraken", "word", lacking[0])
        else:
            raise AssertionError(f"no {lacking[0]} was lost in one gap alone\n{lab.logs()}")
        yield lab


def needed_gap(lab: Lab, channel: str) -> bool:
    """Return whether a gap is the only one that covers a lost item: on a slow machine those of two faults overlap."""
    connection = psycopg2.connect(lab.url)
    try:
        check(connection, lab.log)
        with connection.cursor() as cursor:
            cursor.execute(_NEEDED.format(channel=channel))
            return cursor.fetchone() is not None
    finally:
        connection.close()


@pytest.mark.timeout(600)
def test_the_checker_finds_every_single_change_of_a_clean_database(lab: Lab) -> None:
    finding = lab.judge()
    assert finding.clean, f"{finding}\n{lab.logs()}"
    assert finding.lost > 2
    assert finding.unsent > 10
    connection = psycopg2.connect(lab.url)
    try:
        # One snapshot for all, since the programs go on; each mutation is undone in it.
        connection.set_session(isolation_level="REPEATABLE READ")
        finding = check(connection, lab.log)  # it also makes the tables from which a mutation is drawn
        assert finding.clean, str(finding)
        for mutation in MUTATIONS:
            found = mutate(connection, lab, mutation)
            assert mutation.problem in found, f"{mutation.name}: {found}"
            assert len(found[mutation.problem]) <= mutation.most, f"{mutation.name}: {found}"
            assert found.keys() <= {mutation.problem, *mutation.also}, f"{mutation.name}: {found}"
    finally:
        connection.close()


def mutate(connection: extensions.connection, lab: Lab, mutation: Mutation) -> dict[str, list[str]]:
    """Apply a mutation in the open transaction, and return what the checker finds then. The mutation is undone."""
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT unchanged")
        cursor.execute(mutation.statement)
        assert cursor.rowcount == 1, f"{mutation.name}: {cursor.rowcount} rows changed"
        problems = check(connection, lab.log).problems
        cursor.execute("ROLLBACK TO SAVEPOINT unchanged")
    return problems
