"""The benches of Tapedeck: what they measure, and the program that runs them.

    make bench                       everything; JSON=FILE also writes all results to a file
    make bench-quick                 under two minutes, for before and after a change

- stages: CPU of each step of the hot path per message (stages.py).
- decoders: CPU of each dialect's decoder per event (decoders.py); needs captures in TAPEDECK_DATA.
- analysis: speed of `analysis` against the libraries it stands on (bench_analysis.py); needs the extra `analysis`.
- duel: capacity, latency, CPU per message and outage of the whole recorder against cryptofeed 2.5 (duel.py, which
  defines each of these); needs Linux, and for the peer a Python 3.12 or 3.13 that runs and a package index once.

What is lacking is said in one sentence, and the rest goes on. The exit status is 1 when a figure misses its limit.
Figures of one run compare with each other; the load of the machine is printed before and after each part.
"""

import argparse
import functools
import importlib
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import decoders, duel_rounds, stages
from bench.decoders import DecoderCost
from bench.measure import Figure, print_figures
from bench.stages import StageCosts

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("stages", "decoders", "analysis", "duel")
QUICK_PARTS = ("stages", "decoders", "duel")


class Options(msgspec.Struct):
    """What to run and how much of it."""

    parts: tuple[str, ...]
    quick: bool
    reps: int
    total: int
    rate: float
    who: tuple[str, ...]


class Report(msgspec.Struct):
    """Everything that was measured."""

    started: datetime
    cpus: int
    system: str
    python: str
    load_averages: dict[str, tuple[float, float, float]] = {}  # 1, 5 and 15 minutes, before and after each part
    lacking: list[str] = []
    stages: list[StageCosts] = []
    decoders: list[DecoderCost] = []
    duel: duel_rounds.Duel | None = None
    figures: list[Figure] = []  # with their limits, where they have one

    def note_load(self, when: str) -> None:
        """Note and print the load average."""
        self.load_averages[when] = load = os.getloadavg()
        print(f"load average {when}: {load[0]:.2f} {load[1]:.2f} {load[2]:.2f}", flush=True)

    def lacks(self, what: str) -> None:
        """Note and print what cannot be measured here."""
        self.lacking.append(what)
        print(f"bench: {what}", flush=True)


def run_stages(options: Options, report: Report) -> list[Figure]:
    """Measure the steps of the hot path."""
    report.stages = stages.measure(rounds=3 if options.quick else 5)
    stages.show(report.stages)
    return []


def run_decoders(options: Options, report: Report) -> list[Figure]:
    """Measure the decoders."""
    report.decoders = decoders.measure(rounds=7 if options.quick else 21)
    if not report.decoders:
        report.lacks("no captures were found, so decoders are not measured; set TAPEDECK_DATA")
        return []
    decoders.show(report.decoders)
    return [decoders.spread(report.decoders)]


def run_analysis(options: Options, report: Report) -> list[Figure]:
    """Measure `analysis`."""
    try:
        analysis = importlib.import_module("bench.bench_analysis")
    except ImportError as error:
        report.lacks(f"the extra analysis is not installed ({error.name}), so its speed is not measured")
        return []
    figures: list[Figure] = analysis.measure(1.0, 5)
    return figures


def run_duel(options: Options, report: Report) -> list[Figure]:
    """Measure the whole recorder, against the peer where it can be run."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as folder:
        plan = duel_rounds.Plan(
            reps=1 if options.quick else options.reps,
            total=options.total // 2 if options.quick else options.total,
            rate=options.rate,
            latency_s=4 if options.quick else 8,
            outage=not options.quick,
            who=options.who,
        )
        report.duel = duel_rounds.run(plan, Path(folder), ROOT / ".venv" / "bench-peer", report.lacks)
    if report.duel is None:
        return []
    duel_rounds.show(report.duel)
    return duel_rounds.figures(report.duel)


RUN: dict[str, Callable[[Options, Report], list[Figure]]] = {
    "stages": run_stages,
    "decoders": run_decoders,
    "analysis": run_analysis,
    "duel": run_duel,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen parts, print their tables, and write all results to a file on request."""
    names = functools.partial(str.split, sep=",")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short form of stages, decoders and duel")
    parser.add_argument("--only", type=names, help=f"parts, of {','.join(PARTS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to a file")
    parser.add_argument("--markdown", action="store_true", help="also print the medians as the table of the README")
    parser.add_argument("--reps", type=int, default=3, help="rounds of the duel; subjects alternate within each")
    parser.add_argument("--total", type=int, default=400_000, help="messages of a capacity run")
    parser.add_argument("--rate", type=float, default=8000, help="messages/s of a latency run")
    parser.add_argument("--who", type=names, default=list(duel_rounds.SUBJECTS), help="subjects of the duel")
    parsed = parser.parse_args(arguments)
    parts = parsed.only or (QUICK_PARTS if parsed.quick else PARTS)
    if not set(parts) <= set(PARTS) or not set(parsed.who) <= set(duel_rounds.SUBJECTS):
        parser.error(f"parts are {', '.join(PARTS)}; subjects are {', '.join(duel_rounds.SUBJECTS)}")
    options = Options(tuple(parts), parsed.quick, parsed.reps, parsed.total, parsed.rate, tuple(parsed.who))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every started process is ended on the way out
    report = Report(datetime.now(UTC), os.cpu_count() or 1, platform.platform(), platform.python_version())
    report.note_load("before")
    for part in options.parts:
        report.figures += RUN[part](options, report)
        report.note_load(f"after {part}")
    if report.figures:
        print_figures("Figures and their limits", report.figures)
    if parsed.markdown and report.duel is not None and len(report.duel.capacity) == len(duel_rounds.SUBJECTS):
        print(duel_rounds.markdown(report.duel))
    if parsed.json:
        parsed.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return 0 if all(figure.holds for figure in report.figures) else 1


if __name__ == "__main__":
    sys.exit(main())
