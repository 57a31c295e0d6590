"""System Overview: is anything wrong, and where; then how much is lost, recorded and left."""

from dashboards.board import Board
from dashboards.panels import GREEN, RED, YELLOW, Limits, Query, bars, figure, lines, rows, states

LOSS = Limits(0.005, 0.072)  # the budget, and 14.4 times it, as in rules/alerts.yml

BOARD = Board(
    "tapedeck-overview",
    "Tapedeck / System Overview",
    "Whether recording works. The first row says what is wrong now; everything below says since when and where.",
    [
        figure(
            "Watchdog",
            "Whether Prometheus gets the page of the watchdog. When it does not, every other figure here is old.",
            [Query('max(up{job="tapedeck"})')],
            unit="none",
            words={0: ("gone", RED), 1: ("answers", GREEN)},
            empty="not scraped",
        ),
        figure(
            "Pages",
            "Alerts of the watchdog that need a person now. `tapedeck alerts` lists them with what was found.",
            [Query('sum(tapedeck_alerts{state="firing", severity="page"})')],
            unit="none",
            limits=Limits(1, 1),
        ),
        figure(
            "Tickets",
            "Alerts of the watchdog that need a person within days.",
            [Query('sum(tapedeck_alerts{state="firing", severity="ticket"})')],
            unit="none",
            limits=Limits(1, 10),
        ),
        figure(
            "Worst venue, last hour",
            "Share of the wanted time of all streams in which the venue that lost most was recorded, without streams "
            "that the venue refuses. The objective is 99.5 % in 30 days.",
            [Query("1 - max(venue:tapedeck_stream_loss:ratio_rate1h)")],
            unit="percentunit",
            limits=Limits(0.995, 0.928),
        ),
        figure(
            "Postgres is behind",
            "How far Postgres is behind the journals. Recording does not wait for it: rows are late, not lost.",
            [Query("max(tapedeck_writer_lag_seconds)")],
            unit="s",
            limits=Limits(10, 60),
        ),
        figure(
            "Fullest disk",
            "Use of the fullest disk. At 95 % the watchdog pages; a full disk drops frames.",
            [Query("max(tapedeck_disk_used_ratio)")],
            unit="percentunit",
            limits=Limits(0.9, 0.95),
        ),
        rows(
            "Alerts that fire",
            "One row for each alert of the watchdog that fires now. docs/runbook.md has a section for each rule.",
            Query("sort_desc(tapedeck_alert_firing)"),
            {"severity": "urgency", "rule": "rule", "subject": "subject", "venue": "venue"},
            empty="Nothing fires.",
        ),
        states(
            "Programs",
            "Red: supervisord does not run the program. Yellow: it runs and has a problem, which `tapedeck status` "
            "names.",
            [
                Query(
                    "max by (program) (tapedeck_program_up + tapedeck_program_up * tapedeck_program_healthy)",
                    "{{program}}",
                )
            ],
            {0: ("down", RED), 1: ("has a problem", YELLOW), 2: ("well", GREEN)},
        ),
        bars(
            "Loss by venue, last hour",
            "Share of the wanted time of all streams that was not recorded, the worst venue first. It is counted "
            "while it happens; table `gap` has each gap with its cause, and some heal later.",
            [Query("sort_desc(venue:tapedeck_stream_loss:ratio_rate1h)", "{{venue}}")],
            unit="percentunit",
            limits=LOSS,
            most=0.1,
        ),
        bars(
            "Budget spent, last 3 days",
            "How fast each venue spends the 0.5 % that may be lost: at 100 % it loses just what the objective allows. "
            "Above, the budget does not last; StreamLossSlow is its alert. In the first days a short loss counts much, "
            "because there is little time to compare it with.",
            [Query("sort_desc(venue:tapedeck_stream_loss:ratio_rate3d / 0.005)", "{{venue}}")],
            unit="percentunit",
            limits=Limits(0.7, 1),
            most=2,
        ),
        lines(
            "Messages received",
            "Messages a second from each venue. A line at zero is an outage or a quiet market; a line that ends is a "
            "recorder that stopped.",
            [Query("sum by (venue) (rate(tapedeck_recorder_frames_total[$__rate_interval]))", "{{venue}}")],
            unit="cps",
        ),
        lines(
            "Disk space",
            "Free space of each disk, and the space that each part of the appliance takes.",
            [
                Query("tapedeck_disk_free_bytes", "free on the disk of {{disk}}"),
                Query("tapedeck_disk_part_bytes", "{{part}}"),
            ],
            unit="bytes",
        ),
        lines(
            "Age of backups",
            "Age of the newest backup, and time since one was proved by a restore. 0 while there is none.",
            [
                Query("max(tapedeck_backup_age_seconds) or vector(0)", "newest backup"),
                Query("max(tapedeck_backup_proof_age_seconds) or vector(0)", "last proof"),
            ],
            unit="s",
            limits=Limits(1.5 * 86_400, 2 * 86_400),
        ),
    ],
)
