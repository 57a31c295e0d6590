"""Processor Performance: the writer, Postgres, and what follows them."""

from dashboards.board import Board
from dashboards.panels import GREEN, GREY, RED, Limits, Query, figure, lines

BOARD = Board(
    "tapedeck-processor",
    "Tapedeck / Processor Performance",
    "The way from the journals into Postgres: how far it is behind, how fast it is, and how Postgres does.",
    [
        figure(
            "Postgres",
            "How Postgres answers the watchdog: it hangs when it takes a question and does not answer.",
            [
                Query(
                    'max(tapedeck_postgres_state{state="up"}) * 3 + max(tapedeck_postgres_state{state="hung"}) * 2'
                    ' + max(tapedeck_postgres_state{state="down"})'
                )
            ],
            unit="none",
            words={0: ("not asked yet", GREY), 1: ("down", RED), 2: ("hangs", RED), 3: ("up", GREEN)},
        ),
        figure(
            "Behind now",
            "How far Postgres is behind the journals. Nothing is lost by it while the disk has room.",
            [Query("max(tapedeck_writer_lag_seconds)")],
            unit="s",
            limits=Limits(10, 60),
        ),
        figure(
            "Freshness, last hour",
            "99 of 100 looks of the last hour found Postgres no further behind than this. CommitsLate is its alert.",
            [Query("max(tapedeck:commit_age_seconds:p99_1h)")],
            unit="s",
            limits=Limits(5, 10),
        ),
        figure(
            "Waiting in journals",
            "Bytes of all journals that are not in Postgres yet.",
            [Query("max(tapedeck_writer_lag_bytes)")],
            unit="bytes",
            limits=Limits(64 * 2**20, 2**30),
        ),
        figure(
            "Connections in use",
            "Share of the connections of Postgres that ordinary logins may use. At 90 % the watchdog pages.",
            [Query("max(tapedeck_postgres_connections / tapedeck_postgres_connections_limit)")],
            unit="percentunit",
            limits=Limits(0.7, 0.9),
        ),
        figure(
            "Partitions ahead",
            "For how long partitions of the tables exist already. The writer makes them; below 3 days it does not.",
            [Query("min(tapedeck_postgres_partitions_ahead_seconds)")],
            unit="s",
            limits=Limits(7 * 86_400, 3 * 86_400),
        ),
        lines(
            "Behind, by journal",
            "How far Postgres is behind each journal.",
            [Query("max by (journal) (tapedeck_journal_lag_seconds)", "{{journal}}")],
            unit="s",
            limits=Limits(10, 60),
        ),
        lines(
            "In and out",
            "Events that the recorders decode, and rows that the writer stores, a second. Where less is stored than "
            "decoded for long, the writer falls behind. Rows of polls are stored besides.",
            [
                Query("sum(rate(tapedeck_recorder_events_total[$__rate_interval]))", "decoded"),
                Query("sum(rate(tapedeck_writer_rows_total[$__rate_interval]))", "stored"),
                Query("sum(rate(tapedeck_writer_duplicates_total[$__rate_interval]))", "stored already"),
                Query("sum(rate(tapedeck_writer_quarantined_total[$__rate_interval]))", "refused by Postgres"),
            ],
            unit="cps",
        ),
        lines(
            "Rows by table",
            "Rows a second that were inserted into each table, averaged over 5 minutes, because the ledger is read "
            "once a minute.",
            [Query("sum by (table) (rate(tapedeck_ledger_inserted_rows_total[5m])) > 0", "{{table}}")],
            unit="cps",
            stacked=True,
        ),
        lines(
            "Rows in a transaction",
            "How many rows one transaction of the writer stores. More is cheaper, and later.",
            [
                Query(
                    "rate(tapedeck_writer_rows_total[$__rate_interval])"
                    " / (rate(tapedeck_writer_transactions_total[$__rate_interval]) > 0)",
                    "rows",
                )
            ],
            unit="none",
        ),
        lines(
            "Answer of Postgres",
            "How long the watchdog's questions to Postgres take, from the connect to the last row. Once a minute it "
            "asks more.",
            [Query("max(tapedeck_postgres_answer_seconds)", "answer")],
            unit="s",
            limits=Limits(1, 5),
        ),
        lines(
            "Trouble in Postgres",
            "Transactions that were rolled back, and deadlocks, a second. A few rollbacks are usual.",
            [
                Query("sum(rate(tapedeck_postgres_rollbacks_total[$__rate_interval]))", "rolled back"),
                Query("sum(rate(tapedeck_postgres_deadlocks_total[$__rate_interval]))", "deadlocks"),
            ],
            unit="cps",
        ),
        lines(
            "Size of the database",
            "Size of all tables and indexes. Nothing removes old days by itself.",
            [Query("max(tapedeck_postgres_size_bytes)", "database")],
            unit="bytes",
        ),
        lines(
            "Temporary files",
            "Bytes a second that questions write to temporary files, because they do not fit into memory. Usually a "
            "person's.",
            [Query("sum(rate(tapedeck_postgres_temporary_bytes_total[$__rate_interval]))", "written")],
            unit="Bps",
        ),
        lines(
            "What follows the journals",
            "How far bars are behind the trades in Postgres, and column files behind the journals. Of a program that "
            "is off it is 0.",
            [
                Query("max(tapedeck_deriver_lag_seconds) or vector(0)", "bars"),
                Query("max(tapedeck_columns_lag_seconds) or vector(0)", "column files"),
            ],
            unit="s",
            limits=Limits(10, 60),
        ),
        lines(
            "Jobs of the keeper with a problem",
            "1 for each job whose last run failed or found a problem, and the number of files of the archive that are "
            "missing or changed. `tapedeck keep --list` says why.",
            [
                Query("max by (keeper_job) (tapedeck_keeper_job_problem)", "{{keeper_job}}"),
                Query("max(tapedeck_keeper_damaged_files)", "damaged files"),
            ],
            unit="none",
            limits=Limits(1, 1),
        ),
    ],
)
