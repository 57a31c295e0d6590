"""`tapedeck heal`: what the next round of healing would read, or a round by hand."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from recorder.appliance.embedded_postgres import database_url
from recorder.cli.columns import duration
from recorder.cli.common import complete_venue, counted, say_folded
from recorder.cli.polls.gaps import gap_lines, gaps_of_trades, require_known
from recorder.cli.polls.poll import by_hand, dry, running, say_run
from recorder.clock import SystemClock
from recorder.errors import ConfigError, nearest
from recorder.poller.healing.configured import NAME, healed_venues, healing_job
from recorder.poller.healing.job import NOTHING_DUE, Healing, Task, TimeTask
from recorder.poller.jobs import jobs_of
from recorder.printable import printable
from recorder.process.terminal import say, say_json
from recorder.settings import Settings
from recorder.store.database import WRITER
from recorder.venues import VENUES

_GAPS_MAX = 10_000


class HealLine(msgspec.Struct):
    """One hole that can be read now: by its ids, or by its time where ids prove nothing."""

    venue: str
    symbol: str
    hole: str
    gaps: int


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(heal)


def heal(
    context: typer.Context,
    venue: Annotated[str, typer.Argument(help="Only this venue, such as kraken.", autocompletion=complete_venue)] = "",
    symbol: Annotated[str, typer.Argument(help="Only this symbol, as the venue writes it.")] = "",
    once: Annotated[bool, typer.Option("--once", help="Read them now.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --once: ask the venues, and show what would be stored.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """List the gaps of trades that can be filled now, or fill them.

    The poller fills gaps by itself, by its job healing: 30 s after a gap ended it reads the trades from the history of
    the venue, from the stored trade before the gap to that after it. Only if the venue lists these two as they are
    stored, what lies between them is stored, in one transaction with the new state of the gap. Ids that the venue does
    not list are read again after 1 min, 10 min, 1 h and 24 h.

    `--once` runs such a round now; a running poller runs it, for all venues. Where nothing is due, the command says
    when the next gap is read.

    Exit code: 0 when the round was done or nothing was due, 1 when it failed or the program stopped in the middle.

    Examples:

    `tapedeck heal`

    `tapedeck heal --once`

    `tapedeck heal coinbase BTC-USD --once --dry-run`
    """
    options = context.obj
    settings = options.settings()
    healed = sorted(name for name, kind in VENUES.items() if kind.trade_history is not None)
    if venue and venue not in healed:
        raise ConfigError(f"gaps of {venue} cannot be filled{nearest(venue, healed)}")
    clock = SystemClock()
    job = healing_job(settings, clock, lambda: database_url(settings, WRITER), (venue, symbol))
    options.log_to_stderr(settings, "heal", "ERROR")
    require_known(settings, venue, symbol)
    if not once:
        if dry_run:
            raise ConfigError("--dry-run shows what a round would store: tapedeck heal --once --dry-run")
        assert isinstance(job.handler, Healing)
        tasks = job.handler.plan(healed)
        return _list(tasks, "" if tasks else next_read(settings, venue, symbol), as_json=as_json)
    if dry_run:
        return dry(settings, job, as_json=as_json)
    if venue and running(settings):
        say("tapedeck: the running poller reads the gaps of all venues", err=True)
    jobs = [job if one.name == NAME else one for one in jobs_of(settings, clock)]
    if job not in jobs:
        raise ConfigError(f"the job {NAME} is off; remove it from poller.off")
    run = by_hand(settings, job, jobs)
    code = say_run(run, as_json=as_json)
    if run.state == "skipped" and run.reason.endswith(NOTHING_DUE):
        say_folded(next_read(settings, venue, symbol), err=True)
    return code


def next_read(settings: Settings, venue: str, symbol: str) -> str:
    """Return when the next gap is read, for a moment in which none is due.

    Raises:
        StoreError: The database cannot be read.
    """
    gaps = [one for one in gap_lines(settings, venue, symbol, 0.0, _GAPS_MAX) if one.state == "open"]
    ended = [one for one in gaps if one.due_at is not None]
    times = [one.due_at for one in ended if one.due_at is not None]
    if times:
        left_s = (min(times) - datetime.now(UTC)).total_seconds()
        when = f"in {duration(left_s)}" if left_s > 0 else "once the trades beside it are stored"
        failed = next((f"; the last try at {one.venue} failed: {one.failure}" for one in ended if one.failure), "")
        return f"nothing is due; the next of {gaps_of_trades(len(times))} is read {when}{printable(failed)}"
    healed = healed_venues(settings)
    lasting = sum(one.ended_at is None and one.venue in healed for one in gaps)
    if lasting:
        return f"nothing is due; {gaps_of_trades(lasting)} going on; each is read 30 s after its end"
    return "nothing is due; no gap of trades is open that can be filled"


def _list(tasks: Sequence[Task | TimeTask], idle: str, *, as_json: bool) -> int:
    lines = [
        HealLine(task.stream.venue, task.stream.symbol, _hole(task), len(task.hole.gaps)) for task in tasks
    ]  # fmt: skip
    if as_json:
        say_json(lines, indented=True)
        return 0
    for one in lines:
        say_folded(f"{one.venue} {printable(one.symbol)}: {one.hole}")
    found = f"{counted(len(lines), 'hole')} can be filled now; `tapedeck heal --once` does it"
    say_folded(f"{idle or found}; `tapedeck gaps` lists all", err=True)
    return 0


def _hole(task: Task | TimeTask) -> str:
    if isinstance(task, Task):
        return f"{counted(task.hole.ids, 'id')} between {task.hole.last_id} and {task.hole.first_id}"
    since, until = (datetime.fromtimestamp(at_ns / 1e9, UTC) for at_ns in (task.hole.since_ns, task.hole.until_ns))
    return f"from {since:%Y-%m-%d %H:%M:%S} to {until:%H:%M:%S} UTC"
