"""The conditions of what the keeper does: its jobs, the archive, the budget of the disk, and backups. Pure."""

from collections.abc import Iterator

from recorder.printable import one_line
from recorder.watchdog.conditions import Found
from recorder.watchdog.evidence import Evidence

KEEPER = "keeper"
_OWN_RULES = ("budget", "restore-proof")  # jobs whose problems have rules of their own
_NAMED = 3
_TEXT = 200


def keeper_job(evidence: Evidence, limit: float) -> Iterator[Found]:
    """Find jobs that failed, report a problem that no other rule names, or did not run for long after their time."""
    keeper = evidence.keeper
    if keeper is None or not evidence.fresh(KEEPER):
        return
    found, latest_s = [], 0.0
    for name, job in keeper.jobs.items():
        late_s = 0.0 if job.next_at is None else evidence.at - job.next_at
        if job.running_since is not None:
            late_s = evidence.at - job.running_since - job.period_s
        if job.problem and name not in _OWN_RULES and not job.damaged:
            found.append(f"{name}: {one_line(job.problem)[:_TEXT]}")
        elif late_s > limit and job.last_state != "waits":
            found.append(f"{name} is late by {late_s:.0f} s")
            latest_s = max(latest_s, late_s)
    if found:
        yield Found(KEEPER, "; ".join(found[:_NAMED]), latest_s or len(found))


def archive_damaged(evidence: Evidence, limit: float) -> Iterator[Found]:
    """Find files of the archive that are missing or differ."""
    keeper = evidence.keeper
    if keeper is None or not evidence.fresh(KEEPER):
        return
    worst = max(keeper.jobs.values(), key=lambda job: job.damaged, default=None)
    if worst is not None and worst.damaged > limit:
        yield Found(KEEPER, one_line(worst.problem)[:_TEXT], worst.damaged)


def disk_budget(evidence: Evidence, _limit: float) -> Iterator[Found]:
    """Find that the disk use is beyond the budget and that nothing more may go."""
    keeper = evidence.keeper
    budget = None if keeper is None or not evidence.fresh(KEEPER) else keeper.jobs.get("budget")
    if budget is not None and budget.problem:
        yield Found(KEEPER, one_line(f"{budget.problem}; {budget.last_detail}")[:_TEXT])


def archive_let_go(evidence: Evidence, limit: float) -> Iterator[Found]:
    """Find that archived rows were removed for good to keep the budget of the disk."""
    keeper = evidence.keeper
    budget = None if keeper is None or not evidence.fresh(KEEPER) else keeper.jobs.get("budget")
    if budget is not None and budget.let_go_bytes > limit:
        mib = budget.let_go_bytes >> 20
        yield Found(KEEPER, f"{mib:,} MiB of the archive were let go for good, and declared as gaps", mib)


def backup_old(evidence: Evidence, limit: float) -> Iterator[Found]:
    """Find that the newest backup is old."""
    facts = evidence.database.facts
    backup = None if facts is None else facts.backup
    if backup is not None and backup.newest_days is not None and backup.newest_days > limit:
        yield Found("", f"the newest backup is {backup.newest_days:.1f} days old", backup.newest_days)
