"""`tapedeck probe`: ask venues once what their protocol pages leave uncertain, and compare with the decoders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from recorder.cli.common import STDERR, Context, console
from recorder.clock import SystemClock
from recorder.errors import ConfigError, nearest
from recorder.probe.keeping import README
from recorder.probe.run import State, VenueReport, folder_of, listed, probe
from recorder.process import files
from recorder.process.log import configure
from recorder.process.screen import shown
from recorder.process.terminal import say, say_json
from recorder.settings import Settings
from recorder.venues.questionnaires import QUESTIONNAIRES

NO_ANSWER = 3
"""Exit code where nothing differs and something was not answered."""

_STYLES: dict[State, str] = {"agrees": "green", "differs": "bold red", "no answer": "yellow", "not asked": "dim"}
_GIVEN_UP = 2  # venues out of reach, one after the other, after which the others are not asked


def complete(incomplete: str) -> list[str]:
    """Return the venues that begin like this, for shell completion."""
    return [name for name in QUESTIONNAIRES if name.startswith(incomplete)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("probe")(ask_venues)


def ask_venues(
    context: typer.Context,
    venue: Annotated[
        str | None, typer.Argument(help="Name of one venue, such as kraken.", autocompletion=complete)
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the answers here. Default: probe/TIME in the home.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show the questions, and ask nothing.")] = False,
    timeout: Annotated[float, typer.Option(min=5, max=600, help="Seconds for the questions to one venue.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, one for each venue.")] = False,
) -> int:
    """Ask every venue, or one, what its protocol page leaves uncertain: each question once, politely.

    Each answer is compared with what the decoders assume: it agrees, it differs, or there is no answer. One request is
    made at a time, within the request budgets of this machine, and one WebSocket connection a venue. Nothing is stored
    in the database. Questions that need hours or an account are shown as not asked.

    The raw answers are kept as files that `tapedeck decode` reads and that can become captures.

    Exit code: 0 when every answer agrees; 1 when at least one differs; 3 when none differs, but at least one question
    has no answer, or there is no network; 2 when an argument is wrong.

    Examples:

    `tapedeck --config live probe kraken`

    `tapedeck probe --list`
    """
    options: Context = context.obj
    names = list(QUESTIONNAIRES) if venue is None else [venue]
    for name in names:
        if name not in QUESTIONNAIRES:
            raise ConfigError(f"unknown venue {name!r}{nearest(name, sorted(QUESTIONNAIRES))}")
    if listing:
        for name in names:
            _show_questions(listed(name), as_json=as_json)
        return 0
    settings = options.settings()
    if not settings.log.debug:  # a request that fails is in the table
        settings = settings.with_log(settings.log.model_copy(update={"level": "ERROR"}))
    configure(settings.log, "probe", fd=STDERR)
    folder = keep.absolute() if keep is not None else folder_of(settings.home, SystemClock().wall_ns())
    try:
        reports = _ask(names, settings, folder, timeout, as_json=as_json)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from None
    return _conclude(reports, len(names), folder, as_json=as_json)


def _ask(
    names: Sequence[str], settings: Settings, folder: Path, timeout_s: float, *, as_json: bool
) -> list[VenueReport]:
    """Ask the venues one after the other, and show the answers of each."""
    files.make_home(folder)
    files.write(folder / "README", README.encode())
    reports: list[VenueReport] = []
    screen = console(stderr=True)
    with screen.status("") as status:
        for name in names:

            def progress(number: int, count: int, question: str, name: str = name) -> None:
                status.update(shown(f"{name}: question {number} of {count}, {question}"))

            report = probe(name, settings, folder, timeout_s, SystemClock(), progress)
            reports.append(report)
            if as_json:
                say_json(report)
            elif not report.unreached:
                _show_answers(report)
            if len(reports) >= _GIVEN_UP and all(one.unreached for one in reports):
                break
    return reports


def _conclude(reports: list[VenueReport], wanted: int, folder: Path, *, as_json: bool) -> int:
    """Print what was out of reach and the summary, and return the exit code."""
    away = [one for one in reports if one.unreached]
    if len(away) == len(reports):
        others = f"; {wanted - 1} more venues are not asked" if wanted > 1 else ""
        say(f"tapedeck: {away[0].venue} cannot be asked: {away[0].unreached}{others}", err=True)
        return NO_ANSWER
    for one in away:
        say(f"tapedeck: {one.venue} cannot be asked: {one.unreached}", err=True)
    counts = {state: sum(one.count(state) for one in reports) for state in _STYLES}
    if not as_json:
        say(
            f"{counts['agrees']} agree, {counts['differs']} differ, {counts['no answer']} have no answer, "
            f"{counts['not asked']} not asked; the answers are in {folder}"
        )
    if counts["differs"]:
        return 1
    return NO_ANSWER if counts["no answer"] or away else 0


def _show_answers(report: VenueReport) -> None:
    screen = console()
    about = f", {report.symbol}" if report.symbol else ""
    screen.print(f"{report.venue}{about}: {report.requests} requests, {report.seconds:.0f} s")
    table = Table("question", "verdict", "seen", box=None, pad_edge=False, header_style="bold")
    for line in report.lines:
        seen = f"needs {line.seen}" if line.state == "not asked" else line.seen
        if line.state == "differs":
            seen = f"{seen} [assumed: {line.assumed}; {line.source}]"
        table.add_row(shown(line.question), shown(line.state, _STYLES[line.state]), shown(seen))
    screen.print(table)
    screen.print()


def _show_questions(report: VenueReport, *, as_json: bool) -> None:
    if as_json:
        say_json(report)
        return
    screen = console()
    screen.print(f"{report.venue}: {len(report.lines)} questions")
    table = Table("question", "source", "assumed", box=None, pad_edge=False, header_style="bold")
    for line in report.lines:
        assumed = line.assumed if line.state != "not asked" else f"{line.assumed} (not asked: needs {line.seen})"
        table.add_row(shown(line.question), shown(line.source), shown(assumed))
    screen.print(table)
    screen.print()
