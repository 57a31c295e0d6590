"""Collector Health: the recorders, by venue."""

from dashboards.board import Board
from dashboards.panels import Limits, Query, bars, figure, lines

_IS = '{venue=~"$venue"}'

BOARD = Board(
    "tapedeck-collector",
    "Tapedeck / Collector Health",
    "The recorders: which streams are not recorded and why, how each venue's connections are, and what is dropped.",
    [
        figure(
            "Recorders down",
            "Recorders that do not run. They report nothing, so their streams are missing in the figures beside this "
            "one; the loss counts them.",
            [Query('sum(tapedeck_program_up{program=~"recorder-($venue)(-[0-9]+)?"} == bool 0)')],
            unit="none",
            limits=Limits(1, 1),
            span=3,
        ),
        figure(
            "Worst venue, last hour",
            "Share of the wanted time of all streams in which the venue that lost most was recorded. The objective is "
            "99.5 % in 30 days.",
            [Query(f"1 - max(venue:tapedeck_stream_loss:ratio_rate1h{_IS})")],
            unit="percentunit",
            limits=Limits(0.995, 0.928),
            span=3,
        ),
        figure(
            "Silent streams",
            "Streams that brought data before and stopped, for longer than ever before.",
            [Query(f"sum(tapedeck_recorder_silent_streams{_IS})")],
            unit="none",
            limits=Limits(1, 10),
            span=3,
        ),
        figure(
            "Refused streams",
            "Streams that a person asked for and that the venue refuses, or for which no connection has room. "
            "`tapedeck status` names them.",
            [Query(f"sum(tapedeck_recorder_refused_streams{_IS}) + sum(tapedeck_recorder_unplaced_streams{_IS})")],
            unit="none",
            limits=Limits(1, 10),
            span=3,
        ),
        figure(
            "Gaps that go on",
            "Streams that miss data at this moment, as the recorders know it. Streams that the venue refuses are "
            "among them.",
            [Query(f"sum(tapedeck_recorder_open_gaps{_IS})")],
            unit="none",
            limits=Limits(1, 10),
            span=3,
        ),
        figure(
            "Oldest gap",
            "Age of the oldest gap that goes on, without those of refused streams. The watchdog's rule gap_long "
            "judges it.",
            [Query(f"max(tapedeck_recorder_oldest_gap_seconds{_IS})")],
            unit="s",
            limits=Limits(60, 1800),
            span=3,
        ),
        figure(
            "Connections not live",
            "Connections that have not had an answer for every stream: they connect, subscribe, or wait to try again.",
            [Query(f"sum(tapedeck_recorder_links{_IS}) - sum(tapedeck_recorder_live_links{_IS})")],
            unit="none",
            limits=Limits(1, 5),
            span=3,
        ),
        figure(
            "Frames dropped, last hour",
            "Frames that were dropped for want of memory or disk. Each is declared as a gap, and each is one too many.",
            [Query(f"sum(increase(tapedeck_recorder_shed_frames_total{_IS}[1h]))")],
            unit="none",
            limits=Limits(1, 1),
            span=3,
        ),
        bars(
            "Time without data",
            "How long each venue has brought nothing at all, the longest first. At 10 minutes the watchdog pages.",
            [Query(f"sort_desc(tapedeck_venue_no_data_seconds{_IS})", "{{venue}}")],
            unit="s",
            limits=Limits(60, 600),
            most=600,
        ),
        lines(
            "Loss, 5 minutes",
            "Share of the wanted time of all streams that was not recorded. The dashed lines are the budget of 0.5 % "
            "and 14.4 times it, at which StreamLossFast pages.",
            [Query(f"venue:tapedeck_stream_loss:ratio_rate5m{_IS}", "{{venue}}")],
            unit="percentunit",
            limits=Limits(0.005, 0.072),
        ),
        lines(
            "Messages received",
            "Messages a second of each venue. A line at zero is an outage or a quiet market; a line that ends is a "
            "recorder that stopped.",
            [Query(f"sum by (venue) (rate(tapedeck_recorder_frames_total{_IS}[$__rate_interval]))", "{{venue}}")],
            unit="cps",
        ),
        lines(
            "Set aside",
            "Messages and rows a second that were put into quarantine, and rows of streams that were never "
            "subscribed. A venue that changes its messages shows here first.",
            [
                Query(
                    f"sum by (venue) (rate(tapedeck_recorder_quarantined_total{_IS}[$__rate_interval]))",
                    "{{venue}} quarantine",
                ),
                Query(
                    f"sum by (venue) (rate(tapedeck_recorder_unsubscribed_rows_total{_IS}[$__rate_interval]))",
                    "{{venue}} never subscribed",
                ),
            ],
            unit="cps",
        ),
        lines(
            "Connections opened",
            "Connections of each venue that were opened within 10 minutes. A steady flow of them is a venue that ends "
            "them.",
            [Query(f"sum by (venue) (increase(tapedeck_recorder_sessions_total{_IS}[10m]))", "{{venue}}")],
            unit="none",
        ),
        lines(
            "Attempts without data",
            "Attempts to connect in a row that brought nothing, of the connection that has the most. Above 5 the "
            "watchdog pages.",
            [Query(f"max by (venue) (tapedeck_recorder_connection_failures{_IS})", "{{venue}}")],
            unit="none",
            limits=Limits(3, 6),
        ),
        lines(
            "Books requested again",
            "Books that were asked for again within 10 minutes, because a message was missing or the checksum was "
            "wrong. The book has a gap until the fresh one comes.",
            [Query(f"sum by (venue) (increase(tapedeck_recorder_resyncs_total{_IS}[10m]))", "{{venue}}")],
            unit="none",
        ),
        lines(
            "Not on disk yet",
            "Bytes of frames in memory that the journal does not have yet. It grows when the disk is slow.",
            [Query(f"max by (venue) (tapedeck_recorder_pending_bytes{_IS})", "{{venue}}")],
            unit="bytes",
        ),
    ],
    by_venue=True,
)
