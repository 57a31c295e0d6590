"""The command: it checks, prints, posts, and returns an exit code of monitoring plug-ins."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from recorder.outside import alert
from recorder.outside.bounded import Fault, bounded
from recorder.outside.judgement import CRITICAL, OK, UNKNOWN, WARNING, Result, check
from recorder.outside.sources import places
from recorder.outside.texts import duration, printable

WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
SETTINGS_S = 5.0
CHECK_S = 20.0
AGAIN_S = 5.0
_MOST_NAMED = 6

_EPILOG = """\
exit code: 0 OK, 1 WARNING, 2 CRITICAL (data is lost or soon will be), 3 UNKNOWN (the check could not judge).
The first line is one sentence and figures, as monitoring plug-ins print them; a summary follows.
The appliance is that of TAPEDECK_HOME, else of .env and tapedeck.toml in the folder above bin/, else var/ there.
It must run as the user of the appliance, and ends within a minute, whatever hangs.

in a crontab:
  * * * * * /opt/tapedeck/bin/check-health --quiet --alert
in a monitoring system: the command bin/check-health, every minute"""


class Outcome(NamedTuple):
    """What is printed, and the exit code."""

    level: int
    sentence: str
    figures: str
    lines: list[str]


def main(words: Sequence[str]) -> int:
    """Check the appliance of this machine.

    Args:
        words: The command line, without the program.

    Returns:
        The exit code.
    """
    arguments = _parser().parse_args(words)
    try:
        home, folder, note, url, ca_file = bounded(places, SETTINGS_S)
    except (Fault, TimeoutError) as error:
        return _print(Outcome(UNKNOWN, str(error) or "the settings cannot be read in time", "", []), quiet=False)

    def look() -> Result:
        return Result(*bounded(lambda: check(Path(home), Path(folder), note), CHECK_S))

    try:
        result = look()
        if arguments.alert and result.unwatched and result.supervised:
            time.sleep(AGAIN_S)  # supervisord may be starting it again just now, and gives no event to wait on
            result = look()
        outcome = _outcome(result)
        unwatched = result.unwatched
    except Fault as fault:
        outcome, unwatched = Outcome(UNKNOWN, str(fault), "", []), False
    except TimeoutError:
        text = f"the check did not end within {CHECK_S:.0f} s: the disk of {home} may hang"
        outcome, unwatched = Outcome(CRITICAL, text, "", []), True
    if arguments.alert:
        outcome = _alerted(outcome, Path(home), url, ca_file, arguments.cooldown, unwatched=unwatched)
    return _print(outcome, quiet=arguments.quiet)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with UNKNOWN: argparse itself would end with 2, which says CRITICAL."""
        self.exit(UNKNOWN, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="check-health",
        description="Check the appliance from outside: its processes, its database, its disk, and what it recorded.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quiet", "-q", action="store_true", help="print nothing when all is well: cron mails what is printed"
    )
    parser.add_argument(
        "--alert",
        action="store_true",
        help="post to ALERT_WEBHOOK_URL when the watchdog is dead, which else sends alerts",
    )
    parser.add_argument(
        "--cooldown", type=float, default=3600.0, metavar="SECONDS", help="time between two such alerts (default 3600)"
    )
    return parser


def _outcome(result: Result) -> Outcome:
    problems = sorted(result.problems, key=lambda problem: -problem[0])
    level = problems[0][0] if problems else OK
    named = [text for _, text in problems[:_MOST_NAMED]]
    if len(problems) > _MOST_NAMED:
        named.append(f"{len(problems) - _MOST_NAMED} more")
    figures = " ".join(f"{name}={value}" for name, value in result.figures.items())
    more = [f"{WORDS[level].lower():<9} {text}" for level, text in problems]
    return Outcome(level, "; ".join(named) or result.sentence, figures, [*result.lines, *more])


def _alerted(outcome: Outcome, home: Path, url: str, ca_file: str, cooldown_s: float, *, unwatched: bool) -> Outcome:
    """Post an alert where that is needed; return the outcome with a line about it."""
    if not url:
        text = "--alert posts nothing: ALERT_WEBHOOK_URL is not set here"
        sentence = outcome.sentence if outcome.level else text
        return outcome._replace(level=max(outcome.level, WARNING), sentence=sentence, lines=[*outcome.lines, text])
    if not unwatched:
        return outcome
    try:
        age_s = bounded(lambda: alert.age_s(home), 2.0)
    except (Fault, TimeoutError):
        age_s = None
    if age_s is not None and age_s < cooldown_s:
        return outcome._replace(lines=[*outcome.lines, f"posted    an alert {duration(age_s)} ago; none now"])
    sentence, lines = _shown(outcome)
    try:
        reason = bounded(lambda: alert.post(url, ca_file, sentence, lines), alert.POST_S)
    except Fault as fault:
        reason = str(fault)
    except TimeoutError:
        reason = f"no answer within {alert.POST_S:.0f} s"
    if reason:
        return outcome._replace(lines=[*outcome.lines, f"posted    no alert: {reason}"])
    with contextlib.suppress(Fault, TimeoutError):  # the next check posts again, which is better than silence
        bounded(lambda: alert.keep_time(home), 2.0)
    return outcome._replace(lines=[*outcome.lines, "posted    an alert, since the watchdog cannot"])


def _shown(outcome: Outcome) -> tuple[str, list[str]]:
    """Return the sentence and the lines as they may be printed."""
    sentence = printable(outcome.sentence).replace("|", "/")  # what follows a bar would be read as figures
    return f"TAPEDECK {WORDS[outcome.level]} - {sentence}", [printable(line) for line in outcome.lines]


def _print(outcome: Outcome, *, quiet: bool) -> int:
    """Print an outcome and return its exit code, also when nothing takes the output."""
    if quiet and outcome.level == OK:
        return OK
    sentence, lines = _shown(outcome)
    text = "\n".join([sentence + (f" | {outcome.figures}" if outcome.figures else ""), *lines, ""])
    data = text.encode("utf-8", "backslashreplace")
    with contextlib.suppress(OSError):  # a full disk or a closed pipe; the exit code still says it
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]
    return outcome.level
