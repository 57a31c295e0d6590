"""API Metrics: what answers over HTTP, and whom we ask."""

from dashboards.board import Board
from dashboards.panels import Limits, Query, figure, lines, note

BOARD = Board(
    "tapedeck-api",
    "Tapedeck / API Metrics",
    "What answers over HTTP today, the watchdog, and how the REST services answer that the poller asks.",
    [
        note(
            "What is here",
            "The program web adds figures of its own to its /metrics (docs/web.md). Shown here are the watchdog, and "
            "the poller, which uses the APIs of others.",
        ),
        figure(
            "Polls that succeed",
            "Share of the poller's rounds of the last hour that did not fail. Below 90 % is a ticket, below 80 % is "
            "critical.",
            [Query("min(tapedeck_poll_success_ratio)")],
            unit="percentunit",
            limits=Limits(0.9, 0.8),
        ),
        figure(
            "Services that fail",
            "REST services whose last request failed. `tapedeck poll` names them.",
            [Query("max(tapedeck_poll_failing_services)")],
            unit="none",
            limits=Limits(1, 5),
        ),
        figure(
            "Services not asked",
            "REST services that failed so often that they are asked only now and then.",
            [Query("max(tapedeck_poll_open_circuits)")],
            unit="none",
            limits=Limits(1, 3),
        ),
        figure(
            "Slots overdue",
            "Rounds of polls that should have begun and have not.",
            [Query("max(tapedeck_poll_backlog_slots)")],
            unit="none",
            limits=Limits(50, 500),
        ),
        figure(
            "Watchdog's answer",
            "How long the watchdog took to answer the last scrape. Its pages are made beforehand, so this is a few "
            "milliseconds.",
            [Query('max(scrape_duration_seconds{job="tapedeck"})')],
            unit="s",
            limits=Limits(0.25, 2),
        ),
        figure(
            "Messages that wait",
            "Messages about alerts that a channel of the watchdog has not taken yet. Empty where no channel is set.",
            [Query("sum(tapedeck_messages_waiting)")],
            unit="none",
            limits=Limits(1, 20),
            empty="no channel",
        ),
        lines(
            "Rounds of polls",
            "Rounds of all jobs of the poller a second, by their outcome.",
            [Query("sum by (outcome) (rate(tapedeck_poll_rounds_total[$__rate_interval]))", "{{outcome}}")],
            unit="cps",
        ),
        lines(
            "Failed or missed, by job",
            "Rounds that failed, and slots that were missed, within 10 minutes.",
            [
                Query(
                    "sum by (poll_job) (increase(tapedeck_poll_job_failed_total[10m]))"
                    " + sum by (poll_job) (increase(tapedeck_poll_job_missed_slots_total[10m]))",
                    "{{poll_job}}",
                )
            ],
            unit="none",
        ),
        lines(
            "Duration of a round, by job",
            "How long the last round of each job took.",
            [Query("max by (poll_job) (tapedeck_poll_job_duration_seconds)", "{{poll_job}}")],
            unit="s",
        ),
        lines(
            "Bytes of answers, by job",
            "Bytes a second that services answer to each job.",
            [
                Query(
                    "sum by (poll_job) (rate(tapedeck_poll_job_answer_bytes_total[$__rate_interval])) > 0",
                    "{{poll_job}}",
                )
            ],
            unit="Bps",
        ),
        lines(
            "Answers of the watchdog",
            "Answers a second by page. Prometheus asks for /metrics every 15 s; `other` are addresses that do not "
            "exist.",
            [Query("sum by (path) (rate(tapedeck_watchdog_http_requests_total[$__rate_interval]))", "{{path}}")],
            unit="reqps",
        ),
        lines(
            "Messages about alerts",
            "Messages that each channel took, and attempts that failed, within 10 minutes.",
            [
                Query("sum by (channel) (increase(tapedeck_messages_sent_total[10m]))", "{{channel}} taken"),
                Query("sum by (channel) (increase(tapedeck_messages_failed_total[10m]))", "{{channel}} failed"),
            ],
            unit="none",
        ),
    ],
)
