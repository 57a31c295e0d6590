"""The first thing to do about each rule, for a message that wakes a person; docs/runbook.md has the rest."""

import re
from collections.abc import Mapping

from recorder.printable import printable
from recorder.shards import venue_of

_LOGS = "tapedeck logs PROGRAM"

FIRST_STEPS: Mapping[str, str] = {
    "supervisord_gone": "tapedeck up: it ends what is left and starts everything again",
    "program_down": f"{_LOGS}: the last lines say why; then supervisorctl start PROGRAM",
    "program_restarting": f"{_LOGS}: the traceback before each start",
    "program_stuck": "tapedeck restart PROGRAM; a process in state D (ps) waits for its disk",
    "database_down": "tapedeck logs postgres; nothing is lost while the disk of the journals has room",
    "database_hung": "tapedeck status: the writer names the lock; nothing is lost while the journals have room",
    "database_lagging": "tapedeck status: the writer says what it waits for; no row is lost",
    "backup_unproved": "tapedeck backups: the last proof and its reason; tapedeck backup takes a new one at once",
    "backup_old": "tapedeck keep --list: why the job backup takes none; tapedeck backup takes one at once",
    "archive_damaged": "tapedeck keep --once check: which file; bring it back from the place that it names",
    "archive_let_go": "tapedeck keep --once budget: what takes the room; raise keeper.budget_gb if it must not",
    "disk_budget": "tapedeck keep --once budget: what takes the room; raise keeper.budget_gb, or name a second place",
    "keeper_job": "tapedeck keep --list: which job, and why; tapedeck keep --once JOB runs it now",
    "columns_lagging": "tapedeck status: the program columns says what it waits for; the journals keep what it lacks",
    "bars_lagging": "tapedeck status: the deriver says what it waits for; bars are late, and none stays wrong",
    "database_connections": "SELECT application_name, count(*) FROM pg_stat_activity GROUP BY 1: who has them",
    "default_partition": "SELECT * FROM default_partitions_in_use(); look at the times of the rows; not urgent",
    "partitions_ahead": "tapedeck keep --list: why it makes none; it tries again at once after a failure",
    "venues_unreachable": "tapedeck doctor: network, name service, clock",
    "venue_heartbeats": "tapedeck test VENUE; packet loss on the way; recorders go on trying by themselves",
    "venue_connections": "tapedeck test VENUE, and the venue's status page; recorders go on trying by themselves",
    "venue_no_data": "tapedeck test VENUE: if data comes there, tapedeck restart recorder-VENUE",
    "streams_silent": "look at these markets on the venue's web site: halted, or delisted?",
    "streams_refused": "tapedeck status: the reasons; correct the symbols, or raise max_links",
    "book_resync_loop": "tapedeck logs recorder-VENUE: look for book.resync; all frames are kept in the journal",
    "gap_long": "SELECT * FROM gap_open ORDER BY started_at LIMIT 20; a market that seldom trades is no fault",
    "lineage": "SELECT * FROM journal_break ORDER BY found_at DESC LIMIT 5; the loss is declared as gaps",
    "frames_dropped": "df: make room on the disk of the journals now; data is being lost, and declared as gaps",
    "quarantine_rate": "SELECT reason, count(*) FROM quarantine GROUP BY 1; the raw frames are kept",
    "new_message_kind": "SELECT * FROM quarantine ORDER BY ts_recv DESC LIMIT 5; the raw frames are kept",
    "disk_full": "tapedeck status, lines disk: what takes the room; make some now, before frames are dropped",
    "disk_filling": "tapedeck status, lines disk: what grows; plan more room",
    "disk_days": "tapedeck status, lines disk: what grows; plan more room",
    "clock_offset": "chronyc tracking, or timedatectl; repair the synchronisation",
    "clock_step": "the log of chrony or systemd-timesyncd: who set the clock; nothing to do for the recording",
    "poll_backlog": "tapedeck poll: which jobs are behind; load of the machine, or a service that does not answer",
    "poll_slots_missed": "tapedeck poll: which jobs, and why; the slots are accounted for as missed",
    "circuit_open": "wait: the service is tried by itself; its status page, and tapedeck logs poller",
    "poll_success": "tapedeck poll: which jobs fail, and why",
    "program_unwell": f"tapedeck status, and {_LOGS}",
}


_COMMAND = re.compile(r"(?:tapedeck|df|chronyc)\b[^:;,]*|SELECT [^:;]*")


def parted(step: str) -> tuple[str, str]:
    """Return the command at the begin of a first step, and the words after it; the command is empty where it has none.

    Args:
        step: What `first_step` returned.
    """
    found = _COMMAND.match(step)
    return ("", step) if found is None else (found.group(), step[found.end() :])


def first_step(rule: str, subject: str) -> str:
    """Return what to do first about an alert; empty for a rule that there is no more.

    Args:
        rule: Its id.
        subject: Venue or program; "" for the appliance.
    """
    named = printable(subject)[:100]
    values = {"PROGRAM": named, "VENUE": venue_of(named) or named}
    step = FIRST_STEPS.get(rule, "")
    return re.sub("|".join(values), lambda found: values[found.group()], step)
