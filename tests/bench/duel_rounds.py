"""The rounds of the duel: which subject is measured when, the tables, and the ratios with their limits."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from bench import duel, process_stats
from bench.cluster import running_cluster
from bench.measure import Figure, print_table
from bench.peer_environment import PeerMissing, peer_python
from bench.subjects import Cryptofeed, Subject, Tapedeck

SUBJECTS = (Cryptofeed.name, Tapedeck.name)
OUTAGE_RUN_S = 40.0
OUTAGE_AWAY_S = 20.0


class Plan(msgspec.Struct):
    """How much is measured."""

    reps: int
    total: int  # messages of a capacity run
    rate: float  # messages/s of a latency run
    latency_s: float
    outage: bool
    who: tuple[str, ...]


class Duel(msgspec.Struct):
    """All runs, by subject and in the order in which they were made."""

    postgres: str
    capacity: dict[str, list[duel.Capacity]] = {}
    latency: dict[str, list[duel.Latency]] = {}
    outage: dict[str, duel.Outage] = {}


def run(plan: Plan, folder: Path, peer_folder: Path, lacks: Callable[[str], None]) -> Duel | None:
    """Measure both subjects, or the one that can be run here.

    Args:
        plan: How much.
        folder: For the cluster, journals and logs; thrown away by the caller.
        peer_folder: For the peer's environment, which is kept.
        lacks: Is called with a sentence for what cannot be measured.

    Returns:
        None when nothing can be measured.
    """
    if not process_stats.available():
        lacks("this system has no /proc, so the duel is not measured")
        return None
    python = ""
    if Cryptofeed.name in plan.who:
        try:
            python = peer_python(peer_folder)
        except PeerMissing as error:
            lacks(f"the peer is not measured: {error}")
    if not python and Tapedeck.name not in plan.who:
        return None
    with running_cluster(folder / "cluster") as cluster:
        subjects: list[Subject] = [Cryptofeed(cluster, folder, python)] if python else []
        if Tapedeck.name in plan.who:
            subjects.append(Tapedeck(cluster, folder))
        measured = Duel(cluster.version)
        for _ in range(plan.reps):
            for subject in subjects:
                measured.capacity.setdefault(subject.name, []).append(duel.capacity(subject, cluster, plan.total))
                if subject.name == Tapedeck.name:
                    run = duel.latency(subject, cluster, plan.rate, plan.latency_s)
                    measured.latency.setdefault(subject.name, []).append(run)
        if plan.outage:
            for subject in subjects:
                measured.outage[subject.name] = duel.outage(subject, cluster, OUTAGE_RUN_S, OUTAGE_AWAY_S)
    return measured


_LINES = {
    "messages/s, offered at once": "messages_per_s",
    "CPU per message, recorder, us": "recorder_us",
    "CPU per message, writer, us": "writer_us",
    "CPU per message, Postgres, us": "postgres_us",
    "peak memory of the recorder, MB": "peak_memory_mb",
}


def show(measured: Duel) -> None:
    """Print every run, and the medians side by side."""
    _show("Capacity, one line a run", measured.capacity)
    _show("Latency, one line a run", measured.latency)
    _show("Outage of Postgres", {name: [run] for name, run in measured.outage.items()})
    if measured.capacity.keys() >= set(SUBJECTS):
        title = f"Medians of one run, Postgres {measured.postgres}"
        print_table(title, ("", *SUBJECTS), _medians(measured))


def markdown(measured: Duel) -> str:
    """Return the medians of both subjects as the table of the README."""
    rows: list[tuple[str, ...]] = [("", *SUBJECTS), ("---",) * 3, *_medians(measured)]
    if measured.outage.keys() >= set(SUBJECTS):
        first = measured.outage[Tapedeck.name]
        name = f"lost of {first.offered:,} while Postgres was away for {first.away_s:.0f} s"
        rows.append((name, *(f"{measured.outage[subject].lost:,}" for subject in SUBJECTS)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _medians(measured: Duel) -> list[tuple[str, ...]]:
    peer, ours = (measured.capacity[subject] for subject in SUBJECTS)
    return [(line, _text(_median(peer, name)), _text(_median(ours, name))) for line, name in _LINES.items()]


def figures(measured: Duel) -> list[Figure]:
    """Return what must hold; ratios are of medians of one run."""
    found = []
    ours, peer = measured.capacity.get(Tapedeck.name), measured.capacity.get(Cryptofeed.name)
    if ours and peer:
        both = [run.recorder_us + run.writer_us for run in ours]
        found += [
            Figure("messages/s, Tapedeck to cryptofeed", _ratio(ours, peer, "messages_per_s"), at_least=7.5),
            Figure("recorder CPU per message, cryptofeed to Tapedeck", _ratio(peer, ours, "recorder_us"), at_least=5.5),
            Figure(
                "CPU per message, cryptofeed to recorder and writer",
                _median(peer, "recorder_us") / statistics.median(both),
            ),
            Figure("Postgres CPU per message, cryptofeed to Tapedeck", _ratio(peer, ours, "postgres_us"), at_least=5),
        ]
    paced = measured.latency.get(Tapedeck.name)
    if paced:
        found += [
            Figure(f"trade to commit at {paced[0].rate:,.0f}/s, median, ms", _median(paced, "p50_ms")),
            Figure(f"trade to commit at {paced[0].rate:,.0f}/s, p99, ms", _median(paced, "p99_ms"), at_most=25),
        ]
    if Tapedeck.name in measured.outage:
        found.append(Figure("messages lost in an outage of Postgres", measured.outage[Tapedeck.name].lost, at_most=0))
    return found


def _show(title: str, runs: Mapping[str, Sequence[duel.Capacity | duel.Latency | duel.Outage]]) -> None:
    rows = [(name, *map(_text, msgspec.structs.astuple(run))) for name, measured in runs.items() for run in measured]
    if rows:
        fields = next(iter(runs.values()))[0].__struct_fields__
        print_table(title, ("", *(field.replace("_", " ") for field in fields)), rows)


def _text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.2f}"


def _median(runs: Sequence[duel.Capacity] | Sequence[duel.Latency], name: str) -> float:
    return float(statistics.median(getattr(run, name) for run in runs))


def _ratio(above: Sequence[duel.Capacity], below: Sequence[duel.Capacity], name: str) -> float:
    return _median(above, name) / _median(below, name)
