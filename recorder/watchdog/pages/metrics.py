"""The page /metrics: what every round knows, in the text format of Prometheus.

The table METRICS is the list of all metrics. Values of labels come from the settings or from lists of ours, so their
number is bounded; counters continue over the restarts of programs and of the watchdog (`totals.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import recorder
from recorder.watchdog.alerts import Held
from recorder.watchdog.conditions import backlog
from recorder.watchdog.evidence import Evidence
from recorder.watchdog.pages import samples
from recorder.watchdog.pages.samples import Own, Round, Sample
from recorder.watchdog.rules import Limit
from recorder.watchdog.totals import Totals

MOST_SERIES = 500  # of one metric
Kind = Literal["counter", "gauge"]


class Spec(NamedTuple):
    """One metric."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    samples: Callable[[Round], Iterable[Sample]]


_R = ("venue", "program")
_P = ("program",)
_V = ("venue",)
_C = ("channel",)
_J = ("poll_job",)  # Prometheus calls what it scrapes `job`
_I = ("venue", "symbol")

METRICS: tuple[Spec, ...] = (
    Spec("tapedeck_build_info", "gauge", "Version of Tapedeck; always 1.", ("version",),
         lambda _given: [Sample((recorder.__version__,), 1)]),
    # Programs
    Spec("tapedeck_supervisord_up", "gauge", "Whether supervisord answers.", (),
         samples.single(lambda given: float(given.evidence.supervised))),
    Spec("tapedeck_healthy", "gauge", "Whether `tapedeck status` calls the appliance healthy.", (),
         samples.single(lambda given: float(given.evidence.status.healthy))),
    Spec("tapedeck_program_up", "gauge", "Whether supervisord runs the program.", _P, samples.up),
    Spec("tapedeck_program_healthy", "gauge", "Whether the program has no problem.", _P, samples.healthy),
    Spec("tapedeck_program_uptime_seconds", "gauge", "Time since the start of the program.", _P, samples.uptime),
    Spec("tapedeck_program_report_age_seconds", "gauge", "Age of the health report of the program.", _P,
         samples.report_age),
    Spec("tapedeck_program_recent_restarts", "gauge", "Restarts of the program within 10 minutes.", _P,
         samples.restarts),
    # Recorders
    Spec("tapedeck_recorder_frames_total", "counter", "Frames received.", _R, samples.of_recorders(lambda r: r.frames)),
    Spec("tapedeck_recorder_events_total", "counter", "Trades, quotes and book messages decoded.", _R,
         samples.of_recorders(lambda r: r.events)),
    Spec("tapedeck_recorder_quarantined_total", "counter", "Frames and rows put into quarantine.", _R,
         samples.of_recorders(lambda r: r.quarantined)),
    Spec("tapedeck_recorder_unsubscribed_rows_total", "counter", "Rows of streams that were never subscribed.", _R,
         samples.of_recorders(lambda r: r.unsubscribed)),
    Spec("tapedeck_recorder_shed_frames_total", "counter", "Frames dropped for want of memory or disk.", _R,
         samples.of_recorders(lambda r: r.shed)),
    Spec("tapedeck_recorder_sessions_total", "counter", "Connections opened.", _R,
         samples.of_recorders(lambda r: r.sessions)),
    Spec("tapedeck_recorder_reconnects_total", "counter", "Connections opened after the first of each link.", _R,
         samples.of_recorders(lambda r: r.reconnects)),
    Spec("tapedeck_recorder_connection_errors_total", "counter", "Connections that failed or were lost.", _R,
         samples.of_recorders(lambda r: r.errors)),
    Spec("tapedeck_recorder_connection_uptime_seconds", "gauge", "Age of the connection that was opened last.", _R,
         samples.of_recorders(lambda r: r.uptime_s)),
    Spec("tapedeck_recorder_resyncs_total", "counter", "Books that were requested again.", _R,
         samples.of_recorders(lambda r: r.resyncs)),
    Spec("tapedeck_recorder_blocks_total", "counter", "Blocks written to the journal.", _R,
         samples.of_recorders(lambda r: r.blocks)),
    Spec("tapedeck_recorder_log_lines_dropped_total", "counter", "Lines of the log that were dropped.", _R,
         samples.of_recorders(lambda r: r.log_dropped)),
    Spec("tapedeck_recorder_frame_rate", "gauge", "Frames per second.", _R,
         samples.of_recorders(lambda r: r.frames_per_s)),
    Spec("tapedeck_recorder_event_rate", "gauge", "Events per second.", _R,
         samples.of_recorders(lambda r: r.events_per_s)),
    Spec("tapedeck_recorder_streams", "gauge", "Streams that the process carries.", _R,
         samples.of_links(lambda links: sum(link.streams for link in links))),
    Spec("tapedeck_recorder_refused_streams", "gauge", "Streams that the venue refuses.", _R,
         samples.of_recorders(lambda r: r.refused)),
    Spec("tapedeck_recorder_followed_refused_streams", "gauge",
         "Streams of markets that the poller chose and that the venue refuses.", _R,
         samples.of_recorders(lambda r: r.followed_refused)),
    Spec("tapedeck_recorder_unplaced_streams", "gauge", "Streams for which no connection has room.", _R,
         samples.of_recorders(lambda r: r.unplaced)),
    Spec("tapedeck_recorder_silent_streams", "gauge", "Streams that stopped bringing data.", _R,
         samples.of_recorders(lambda r: len(r.silent))),
    Spec("tapedeck_recorder_looping_books", "gauge", "Books that do not come right.", _R,
         samples.of_recorders(lambda r: r.looping)),
    Spec("tapedeck_recorder_open_gaps", "gauge", "Gaps that go on, as the recorder knows them.", _R,
         samples.of_recorders(lambda r: r.open_gaps)),
    Spec("tapedeck_recorder_pending_bytes", "gauge", "Bytes of frames that are not on disk yet.", _R,
         samples.of_recorders(lambda r: r.pending_bytes)),
    Spec("tapedeck_recorder_journal_segment", "gauge", "Segment of the journal that is written.", _R,
         samples.of_recorders(lambda r: r.journal_segment)),
    Spec("tapedeck_recorder_journal_offset_bytes", "gauge", "Place in that segment.", _R,
         samples.of_recorders(lambda r: r.journal_offset)),
    Spec("tapedeck_recorder_links", "gauge", "Connections that the process keeps open.", _R, samples.of_links(len)),
    Spec("tapedeck_recorder_live_links", "gauge", "Connections of which every stream is answered.", _R,
         samples.of_links(lambda links: sum(link.state == "LIVE" for link in links))),
    Spec("tapedeck_recorder_frame_age_seconds", "gauge", "Time since the last frame of any connection.", _R,
         samples.youngest(lambda link: link.last_frame_age_s)),
    Spec("tapedeck_recorder_data_age_seconds", "gauge", "Time since the last market data of any connection.", _R,
         samples.youngest(lambda link: link.last_data_age_s)),
    Spec("tapedeck_recorder_connection_failures", "gauge",
         "Attempts in a row without data, of the connection that has the most.", _R,
         samples.of_recorders(lambda r: r.failures)),
    Spec("tapedeck_recorder_heartbeat_failures", "gauge",
         "Sessions in a row that an unanswered ping ended, of the connection that has the most.", _R,
         samples.of_recorders(lambda r: r.heartbeat_failures)),
    Spec("tapedeck_venue_no_data_seconds", "gauge", "Time without any data of the venue.", _V, samples.no_data),
    Spec("tapedeck_venue_wanted_stream_seconds_total", "counter",
         "Time for which streams should have been recorded, without streams that are refused or have no room.",
         _V, samples.stream_seconds(lambda own: own.wanted_s)),
    Spec("tapedeck_venue_recorded_stream_seconds_total", "counter",
         "The part of that time in which the streams were recorded.", _V,
         samples.stream_seconds(lambda own: own.recorded_s)),
    # Writer
    Spec("tapedeck_writer_rows_total", "counter", "Rows stored.", (), samples.of_writer(lambda w: w.rows)),
    Spec("tapedeck_writer_duplicates_total", "counter", "Rows that were stored already.", (),
         samples.of_writer(lambda w: w.duplicates)),
    Spec("tapedeck_writer_quarantined_total", "counter", "Rows that Postgres refused.", (),
         samples.of_writer(lambda w: w.quarantined)),
    Spec("tapedeck_writer_transactions_total", "counter", "Transactions committed.", (),
         samples.of_writer(lambda w: w.transactions)),
    Spec("tapedeck_writer_row_rate", "gauge", "Rows stored per second.", (), samples.of_writer(lambda w: w.rows_per_s)),
    Spec("tapedeck_writer_database_up", "gauge", "Whether the writer calls Postgres up.", (),
         samples.of_writer(lambda w: float(w.database == "up"))),
    Spec("tapedeck_writer_lag_bytes", "gauge", "Bytes of all journals that are not in Postgres.", (),
         samples.of_writer(lambda w: w.lag_bytes)),
    Spec("tapedeck_writer_lag_seconds", "gauge", "How far Postgres is behind the journals.", (),
         samples.single(lambda given: given.evidence.lag_s())),
    Spec("tapedeck_journal_lag_seconds", "gauge", "How far Postgres is behind the journal.", ("journal",),
         samples.journal_lag),
    Spec("tapedeck_journal_lag_bytes", "gauge", "Bytes of the journal that are not in Postgres.", ("journal",),
         samples.journal_lag_bytes),
    Spec("tapedeck_journal_loaded_segment", "gauge", "Segment up to which Postgres has the journal.", ("journal",),
         samples.loaded_segment),
    Spec("tapedeck_journal_loaded_age_seconds", "gauge", "Time since Postgres got the last block of the journal.",
         ("journal",), samples.loaded_age),
    # Deriver
    Spec("tapedeck_deriver_bars_total", "counter", "Bars written, of any length.", (),
         samples.of_deriver(lambda d: d.bars)),
    Spec("tapedeck_deriver_revised_bars_total", "counter", "Bars that changed after they were complete.", (),
         samples.of_deriver(lambda d: d.revised)),
    Spec("tapedeck_deriver_removed_bars_total", "counter", "Bars that have no trade any more.", (),
         samples.of_deriver(lambda d: d.removed)),
    Spec("tapedeck_deriver_marks_total", "counter", "Marks of changed trades and gaps that were taken.", (),
         samples.of_deriver(lambda d: d.marks)),
    Spec("tapedeck_deriver_bar_rate", "gauge", "Bars written per second.", (),
         samples.of_deriver(lambda d: d.bars_per_s)),
    Spec("tapedeck_deriver_lag_seconds", "gauge", "How far bars are behind the trades in Postgres.", (),
         samples.of_deriver(lambda d: d.lag_s)),
    Spec("tapedeck_deriver_pending_ranges", "gauge", "Ranges of days that are to be derived again.", (),
         samples.of_deriver(lambda d: d.ranges)),
    Spec("tapedeck_deriver_database_up", "gauge", "Whether the deriver calls Postgres up.", (),
         samples.of_deriver(lambda d: float(d.database == "up"))),
    # Column files
    Spec("tapedeck_columns_rows_total", "counter", "Trades and quotes written to column files.", (),
         samples.of_columns(lambda c: c.rows)),
    Spec("tapedeck_columns_duplicates_total", "counter", "Trades that the column files had already.", (),
         samples.of_columns(lambda c: c.duplicates)),
    Spec("tapedeck_columns_losses", "gauge", "Parts of journals that are missing in the column files.", (),
         samples.of_columns(lambda c: c.losses)),
    Spec("tapedeck_columns_lag_seconds", "gauge", "How far column files are behind the journals.", (),
         samples.of_columns(lambda c: c.lag_s)),
    Spec("tapedeck_columns_disk_up", "gauge", "Whether the column files can be written.", (),
         samples.of_columns(lambda c: float(c.disk == "up"))),
    # Keeper
    Spec("tapedeck_keeper_job_end_timestamp_seconds", "gauge", "When the last run of a job ended, seconds since 1970.",
         ("keeper_job",), samples.of_keeper(lambda k: k.last_end)),
    Spec("tapedeck_keeper_job_next_timestamp_seconds", "gauge", "When a job runs next, seconds since 1970.",
         ("keeper_job",), samples.of_keeper(lambda k: k.next_at)),
    Spec("tapedeck_keeper_job_running", "gauge", "Whether a job runs now.", ("keeper_job",),
         samples.of_keeper(lambda k: float(k.running_since is not None))),
    Spec("tapedeck_keeper_job_problem", "gauge", "Whether the last run of a job failed or found a problem.",
         ("keeper_job",), samples.of_keeper(lambda k: float(bool(k.problem)))),
    Spec("tapedeck_keeper_damaged_files", "gauge", "Files of the archive that a job found missing or changed.",
         ("keeper_job",), samples.of_keeper(lambda k: float(k.damaged))),
    Spec("tapedeck_keeper_let_go_bytes", "gauge", "Bytes of the archive that the last run of a job removed for good.",
         ("keeper_job",), samples.of_keeper(lambda k: float(k.let_go_bytes))),
    Spec("tapedeck_backup_age_seconds", "gauge", "Age of the newest backup.", (),
         samples.backup_seconds(lambda b: b.newest_days)),
    Spec("tapedeck_backup_proof_age_seconds", "gauge", "Time since a backup was proved by a restore.", (),
         samples.backup_seconds(lambda b: b.proved_days)),
    # Web
    Spec("tapedeck_web_requests_total", "counter", "Requests that web answered.", (),
         samples.of_web(lambda w: w.requests)),
    Spec("tapedeck_web_failed_total", "counter", "Answers of web with a status of 500 or more.", (),
         samples.of_web(lambda w: w.failed)),
    Spec("tapedeck_web_sockets", "gauge", "Open streams of web.", (), samples.of_web(lambda w: w.sockets)),
    Spec("tapedeck_web_connections", "gauge", "Connections of web to Postgres that are in use.", (),
         samples.of_web(lambda w: w.connections)),
    Spec("tapedeck_web_database_up", "gauge", "Whether web calls Postgres up.", (),
         samples.of_web(lambda w: float(w.database == "up"))),
    # Postgres
    Spec("tapedeck_postgres_state", "gauge", "1 for the state of Postgres.", ("state",), samples.database_state),
    Spec("tapedeck_postgres_answer_seconds", "gauge", "Duration of the last look at Postgres.", (),
         samples.of_postgres(lambda f: f.answer_s)),
    Spec("tapedeck_postgres_silent_seconds", "gauge", "Time without an answer of Postgres.", (),
         samples.single(lambda given: given.evidence.database.silent_s)),
    Spec("tapedeck_postgres_connections", "gauge", "Connections in use.", (),
         samples.of_postgres(lambda f: f.connections)),
    Spec("tapedeck_postgres_connections_limit", "gauge", "Connections that ordinary logins may use.", (),
         samples.of_postgres(lambda f: f.max_connections)),
    Spec("tapedeck_postgres_size_bytes", "gauge", "Size of the database.", (), samples.of_postgres(lambda f: f.bytes)),
    Spec("tapedeck_postgres_commits_total", "counter", "Transactions committed in the database.", (),
         samples.of_postgres(lambda f: f.commits)),
    Spec("tapedeck_postgres_rollbacks_total", "counter", "Transactions rolled back in the database.", (),
         samples.of_postgres(lambda f: f.rollbacks)),
    Spec("tapedeck_postgres_deadlocks_total", "counter", "Deadlocks in the database.", (),
         samples.of_postgres(lambda f: f.deadlocks)),
    Spec("tapedeck_postgres_temporary_bytes_total", "counter", "Bytes written to temporary files.", (),
         samples.of_postgres(lambda f: f.temporary_bytes)),
    Spec("tapedeck_postgres_default_partitions_in_use", "gauge", "Tables with rows in their default partition.", (),
         samples.of_postgres(lambda f: len(f.default_partitions))),
    Spec("tapedeck_postgres_partitions_ahead_seconds", "gauge", "Time for which partitions exist.", (),
         samples.of_postgres(lambda f: None if (days := f.partitions_ahead_days) is None else days * 86_400)),
    Spec("tapedeck_postgres_schema_version", "gauge", "Number of the last migration.", (),
         samples.of_postgres(lambda f: f.schema_version)),
    Spec("tapedeck_subscriptions", "gauge", "Active rows of table subscription.", (),
         samples.of_postgres(lambda f: f.subscriptions)),
    Spec("tapedeck_ledger_offered_rows_total", "counter", "Rows offered to the table.", ("table",),
         samples.of_ledger(lambda one: one.offered)),
    Spec("tapedeck_ledger_inserted_rows_total", "counter", "Rows inserted into the table.", ("table",),
         samples.of_ledger(lambda one: one.inserted)),
    Spec("tapedeck_ledger_duplicate_rows_total", "counter", "Rows that the table had already.", ("table",),
         samples.of_ledger(lambda one: one.duplicate)),
    Spec("tapedeck_ledger_quarantined_rows_total", "counter", "Rows that the table refused.", ("table",),
         samples.of_ledger(lambda one: one.quarantined)),
    Spec("tapedeck_gaps_ongoing", "gauge", "Gaps that go on, without refused and unsubscribed streams.", _V,
         samples.gaps),
    Spec("tapedeck_recorder_oldest_gap_seconds", "gauge", "Age of the oldest gap that goes on.", _R,
         samples.of_recorders(lambda r: r.oldest_gap_s)),
    Spec("tapedeck_lineage_recent_breaks", "gauge",
         "Breaks in the lineage and damaged blocks of journals, within an hour.",
         (), samples.breaks),
    # Polls
    Spec("tapedeck_poll_rounds_total", "counter", "Rounds of polls, by whether they failed.", ("outcome",),
         samples.poll_rounds),
    Spec("tapedeck_poll_job_rounds_total", "counter", "Rounds of the job.", _J,
         samples.of_jobs(lambda j: j.rounds)),
    Spec("tapedeck_poll_job_failed_total", "counter", "Rounds of the job that failed.", _J,
         samples.of_jobs(lambda j: j.failed)),
    Spec("tapedeck_poll_job_missed_slots_total", "counter", "Slots of the job that were missed.", _J,
         samples.of_jobs(lambda j: j.missed)),
    Spec("tapedeck_poll_job_rows_total", "counter", "Rows of the job.", _J, samples.of_jobs(lambda j: j.rows)),
    Spec("tapedeck_poll_job_answer_bytes_total", "counter", "Bytes of answers to the job.", _J,
         samples.of_jobs(lambda j: j.bytes)),
    Spec("tapedeck_poll_job_odd_answers_total", "counter", "Odd values in answers to the job.", _J,
         samples.of_jobs(lambda j: j.odd)),
    Spec("tapedeck_poll_job_duration_seconds", "gauge", "Duration of the last round of the job.", _J,
         samples.of_jobs(lambda j: j.last_duration_s)),
    Spec("tapedeck_poll_job_overdue_slots", "gauge", "Slots of the job that are overdue.", _J,
         samples.of_jobs(lambda j: j.overdue)),
    Spec("tapedeck_poll_backlog_slots", "gauge", "Slots of all jobs that are overdue.", (),
         samples.single(lambda given: backlog(given.evidence))),
    Spec("tapedeck_poll_success_ratio", "gauge", "Rounds of the last hour that did not fail.", (),
         samples.single(samples.success)),
    Spec("tapedeck_poll_ledger_slots", "gauge", "Slots of the last hour in the ledger of polls.", ("state",),
         samples.slots),
    Spec("tapedeck_poll_failing_services", "gauge", "REST services whose last request failed.", (),
         samples.of_poller(lambda p: len(p.services))),
    Spec("tapedeck_poll_open_circuits", "gauge", "REST services that failed too often to be asked.", (),
         samples.of_poller(lambda p: len(p.circuits))),
    # The last interval of `watchdog.trades_interval_s`
    Spec("tapedeck_interval_seconds", "gauge", "Length of the intervals of these figures.", (),
         samples.single(lambda given: given.evidence.activity.interval_s)),
    Spec("tapedeck_interval_message_rate", "gauge", "Messages per second in the last interval.", _V,
         samples.of_traffic(lambda one: one.messages_per_s)),
    Spec("tapedeck_interval_reconnects", "gauge", "Connections opened again in the last interval.", _V,
         samples.of_traffic(lambda one: one.reconnects)),
    Spec("tapedeck_interval_errors", "gauge", "Connections lost and messages quarantined in the last interval.", _V,
         samples.of_traffic(lambda one: one.errors)),
    Spec("tapedeck_interval_trades_known", "gauge", "Whether the trades of the last interval are known.", (),
         samples.single(lambda given: float(given.evidence.activity.trades is not None))),
    Spec("tapedeck_interval_end_timestamp_seconds", "gauge", "End of the last interval whose trades are known.", (),
         samples.single(samples.trades_until)),
    Spec("tapedeck_interval_trades", "gauge", "Trades executed in the last interval.", _V,
         samples.of_venue_trades(lambda one: one.trades)),
    Spec("tapedeck_interval_large_trades", "gauge", "Large trades executed in the last interval.", _V,
         samples.of_venue_trades(lambda one: one.large)),
    Spec("tapedeck_interval_traded_instruments", "gauge", "Instruments that traded in the last interval.", _V,
         samples.of_venue_trades(lambda one: one.instruments)),
    Spec("tapedeck_instrument_trades", "gauge", "Trades of the instrument in the last interval.", _I,
         samples.of_instruments(lambda one: one.trades)),
    Spec("tapedeck_instrument_large_trades", "gauge", "Large trades of the instrument in the last interval.", _I,
         samples.of_instruments(lambda one: one.large)),
    Spec("tapedeck_instrument_vwap", "gauge", "Mean price of the last interval, weighted by size.", _I,
         samples.of_instruments(lambda one: one.vwap)),
    Spec("tapedeck_instrument_high", "gauge", "Highest price of the last interval.", _I,
         samples.of_instruments(lambda one: one.high)),
    Spec("tapedeck_instrument_low", "gauge", "Lowest price of the last interval.", _I,
         samples.of_instruments(lambda one: one.low)),
    Spec("tapedeck_instrument_volume", "gauge", "Volume of the last interval, base units.", _I,
         samples.of_instruments(lambda one: one.volume)),
    Spec("tapedeck_instrument_buy_sell_ratio", "gauge", "Volume bought by volume sold in the last interval.", _I,
         samples.of_instruments(lambda one: one.buy_sell_ratio)),
    Spec("tapedeck_instrument_last_trade_timestamp_seconds", "gauge", "Time of the last trade then.", _I,
         samples.of_instruments(lambda one: one.last_at)),
    # This machine
    Spec("tapedeck_disk_size_bytes", "gauge", "Size of the disk.", ("disk",),
         samples.of_disks(lambda total, _free: total)),
    Spec("tapedeck_disk_free_bytes", "gauge", "Free space of the disk.", ("disk",),
         samples.of_disks(lambda _total, free: free)),
    Spec("tapedeck_disk_used_ratio", "gauge", "Use of the disk.", ("disk",), samples.disk_used),
    Spec("tapedeck_disk_part_bytes", "gauge", "Space that a part of the appliance takes.", ("part",), samples.parts),
    Spec("tapedeck_disk_full_after_seconds", "gauge", "Time until the disk is full, at the present rate.", (),
         samples.single(lambda given: None if (use := given.evidence.disk.use) is None else use.full_after_s)),
    Spec("tapedeck_clock_synchronised", "gauge", "Whether the kernel calls its clock synchronised.", (),
         samples.single(lambda given: None if (known := given.evidence.clock.synchronised) is None else float(known))),
    Spec("tapedeck_clock_offset_seconds", "gauge", "Difference of the clock from its reference.", (),
         samples.single(lambda given: given.evidence.clock.offset_s)),
    Spec("tapedeck_clock_step_seconds", "gauge", "Largest jump of the clock within 5 minutes.", (),
         samples.single(lambda given: given.evidence.clock.step_s)),
    Spec("tapedeck_simulator_messages_total", "counter", "Messages that the simulated venue sent.", _V,
         samples.simulated),
    # The watchdog itself
    Spec("tapedeck_alerts", "gauge", "Alerts of a rule, by state.", ("rule", "severity", "state"), samples.alerts),
    Spec("tapedeck_alert_firing", "gauge", "An alert that fires; always 1.", ("rule", "severity", "subject", "venue"),
         samples.firing),
    Spec("tapedeck_evidence_age_seconds", "gauge", "Age of the oldest evidence of a kind, at the round.", ("source",),
         samples.ages),
    Spec("tapedeck_watchdog_rounds_total", "counter", "Rounds of the watchdog.", (),
         samples.of_watchdog(lambda own: own.rounds)),
    Spec("tapedeck_watchdog_round_seconds", "gauge", "Duration of the last round.", (),
         samples.of_watchdog(lambda own: own.round_s)),
    Spec("tapedeck_watchdog_restarts_total", "counter", "Restarts of a stuck program by the watchdog.", _P,
         samples.stuck_restarts),
    Spec("tapedeck_watchdog_alerts_not_stored", "gauge", "Alerts that Postgres does not have yet.", (),
         samples.of_watchdog(lambda own: own.not_stored)),
    Spec("tapedeck_watchdog_http_requests_total", "counter", "Answers of the watchdog over HTTP.", ("path",),
         samples.requests),
    Spec("tapedeck_messages_waiting", "gauge", "Messages about alerts that the channel has not taken yet.", _C,
         samples.of_channels(lambda one: one.waiting)),
    Spec("tapedeck_messages_sent_total", "counter", "Messages about alerts that the channel has taken.", _C,
         samples.of_channels(lambda one: one.taken)),
    Spec("tapedeck_messages_failed_total", "counter", "Attempts to send a message about an alert that failed.", _C,
         samples.of_channels(lambda one: one.failed)),
    Spec("tapedeck_messages_left_out_total", "counter", "Messages that were refused, or are not known to have arrived.",
         _C, samples.of_channels(lambda one: one.left_out)),
)  # fmt: skip


class _Page(Collector):
    """Gives the metrics of one round to prometheus_client."""

    def __init__(self, given: Round, totals: Totals) -> None:
        self._given = given
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        for spec in METRICS:
            family: CounterMetricFamily | GaugeMetricFamily
            if spec.kind == "counter":
                family = CounterMetricFamily(spec.name, spec.help, labels=spec.labels)
            else:
                family = GaugeMetricFamily(spec.name, spec.help, labels=spec.labels)
            shown = 0
            for labels, value, since in spec.samples(self._given):
                if value is None or shown >= MOST_SERIES:
                    continue
                if spec.kind == "counter":
                    value = self._totals.add(" ".join((spec.name, *labels)), value, since)
                family.add_metric(labels, value)
                shown += 1
            yield family


def render(
    evidence: Evidence,
    totals: Totals,
    held: Sequence[Held],
    limits: Mapping[str, Limit],
    own: Own,
    started_at: float,
) -> bytes:
    """Return the page of a round.

    Args:
        evidence: Of the round.
        totals: Of all counters; they take what the round has.
        held: Conditions, pending and firing.
        limits: The rules.
        own: Counts of the watchdog.
        started_at: Its start, unix seconds.
    """
    return generate_latest(_Page(Round(evidence, held, limits, own, started_at), totals))
