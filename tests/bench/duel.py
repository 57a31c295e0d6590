"""Capacity, latency and outage of this recorder and of cryptofeed, on the same market and in the same run.

Both subjects record trades, quotes and ten-level book changes of five coins from a feed server on loopback, each in the
dialect that it reads (cryptofeed: Binance; Tapedeck: Coinbase Exchange), into the same Postgres. Subjects alternate
A B A B, and what counts are ratios of medians: the machine is never quite quiet, and bare times mean nothing outside of
one run.

- Capacity: all messages are offered at once. It is the number of messages stored, divided by the time from the start
  of sending until the last commit. The time of a commit is Postgres' own (`track_commit_timestamp`), so no subject is
  changed; rows are indexed by then.
- CPU per message: CPU time of a process, user and system, from the start of sending until everything is stored,
  divided by the messages. Start-up and subscribing do not count, and the first five seconds of a session belong to
  them: the writer compares its trades with those that an earlier session may have stored. Postgres is the server with
  all its processes, except for the connection by which the bench counts rows.
- Latency: at a fixed rate, the time from the stamp of a trade, set when the feed sends it, until its commit.
- Outage: at 1,000 messages/s Postgres is stopped for a while, a quarter into the run. Lost is what was sent and is not
  stored ten seconds after the end; `catch_up` is the speed at which the backlog was loaded, over the live rate.
- Load: the share of all CPUs that processes outside of the bench used during the run, and the load average.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bench import process_stats
from bench.cluster import Cluster, Monitor
from bench.feed_server import State
from bench.subjects import Subject, last_commit_s, stored, trade_latency_ms

SETTLE_S = 6.5  # between the last subscription and the first message; see the head of this file
OUTAGE_RATE = 1000.0


class Capacity(msgspec.Struct):
    """One run in which everything was offered at once."""

    messages_per_s: float
    recorder_us: float  # CPU per message of the process that reads the feed
    writer_us: float  # of its other processes
    postgres_us: float
    peak_memory_mb: float
    messages: int
    load_average: float
    others_share: float  # of all CPUs, used by processes that are not part of the bench


class Latency(msgspec.Struct):
    """One run at a fixed rate."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # per message, all processes of the subject
    lost: int
    load_average: float


class Outage(msgspec.Struct):
    """One run during which Postgres was away."""

    away_s: float
    offered: int
    lost: int
    catch_up: float
    memory_before_mb: float
    memory_during_mb: float


class Feed:
    """A feed server in a process of its own."""

    def __init__(self, dialect: str, total: int, rate: float, limit_s: float) -> None:
        command = [
            sys.executable, "-m", "bench.feed_server", "--dialect", dialect,
            "--total", str(total), "--rate", str(rate), "--limit-s", str(limit_s),
        ]  # fmt: skip
        self._process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        with self._process.stdout as output:
            line = output.readline()
        if not line:
            raise RuntimeError("the feed server did not start")
        self.port = int(json.loads(line)["port"])

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._get("stop")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()

    def settle(self) -> None:
        """Wait until a moment after the subject has subscribed to everything.

        Raises:
            TimeoutError: it did not subscribe.
        """
        wait_for(lambda: self.state().clients > 0, 30)
        settled_s = time.monotonic() + SETTLE_S
        wait_for(lambda: time.monotonic() > settled_s, 2 * SETTLE_S)

    def start(self) -> None:
        """Begin to send."""
        self._get("start")

    def state(self) -> State:
        """Return what was sent so far."""
        return msgspec.json.decode(self._get("state"), type=State)

    def started_s(self) -> float:
        """Return when it began to send, seconds since 1970."""
        return (self.state().started_ns or 0) / 1e9

    def cpu_s(self) -> float:
        """Return its CPU seconds."""
        return process_stats.cpu_s(self._process.pid)

    def _get(self, what: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/bench/{what}", timeout=10) as answer:
            return bytes(answer.read())


@contextlib.contextmanager
def recording(subject: Subject, feed: Feed) -> Iterator[list[int]]:
    """Run a subject on empty tables while the block runs; gives the numbers of its processes."""
    subject.prepare()
    processes = subject.start(feed.port)
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def capacity(subject: Subject, cluster: Cluster, total: int, limit_s: float = 120.0) -> Capacity:
    """Offer everything at once.

    Raises:
        TimeoutError: not everything was stored in time.
    """
    with (
        Feed(subject.dialect, total, 0.0, limit_s + 30) as feed,
        recording(subject, feed) as pids,
        Monitor(cluster, subject.database) as monitor,
    ):
        feed.settle()
        use, own_s = process_stats.MachineUse(), own_cpu_s(feed, pids, cluster)
        before, postgres_s = [process_stats.cpu_s(pid) for pid in pids], monitor.postgres_cpu_s()
        feed.start()
        wait_for(lambda: monitor.number(subject.rows_so_far) >= total, limit_s, every_s=0.1)
        wait_for(lambda: stored(subject, monitor) >= total, limit_s, every_s=0.25)
        used_us = [(process_stats.cpu_s(pid) - base_s) / total * 1e6 for pid, base_s in zip(pids, before, strict=True)]
        postgres_us = (monitor.postgres_cpu_s() - postgres_s) / total * 1e6
        others_share = use.busy_share(own_cpu_s(feed, pids, cluster) - own_s)
        messages = stored(subject, monitor)
        return Capacity(
            messages / (last_commit_s(subject, monitor) - feed.started_s()),
            used_us[0],
            sum(used_us[1:]),
            postgres_us,
            process_stats.peak_memory_mb(pids[0]),
            messages,
            os.getloadavg()[0],
            others_share,
        )


def latency(subject: Subject, cluster: Cluster, rate: float, seconds: float) -> Latency:
    """Offer messages at a fixed rate."""
    total = int(rate * seconds)
    with (
        Feed(subject.dialect, total, rate, seconds + 60) as feed,
        recording(subject, feed) as pids,
        Monitor(cluster, subject.database) as monitor,
    ):
        feed.settle()
        base_s = sum(map(process_stats.cpu_s, pids))
        feed.start()
        wait_for(lambda: feed.state().ended_ns, seconds + 30, every_s=0.25)
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: stored(subject, monitor) >= total, 10, every_s=0.25)
        cpu_us = (sum(map(process_stats.cpu_s, pids)) - base_s) / total * 1e6
        p50_ms, p99_ms = trade_latency_ms(subject, monitor)
        return Latency(rate, p50_ms, p99_ms, cpu_us, total - stored(subject, monitor), os.getloadavg()[0])


def outage(subject: Subject, cluster: Cluster, seconds: float, away_s: float) -> Outage:
    """Stop Postgres for a while, a quarter into a run at a fixed rate."""
    total = int(OUTAGE_RATE * seconds)
    with Feed(subject.dialect, total, OUTAGE_RATE, seconds + away_s + 90) as feed, recording(subject, feed) as pids:
        feed.settle()
        feed.start()
        wait_for(lambda: feed.state().generated >= total / 4, seconds, every_s=0.25)
        before_mb = process_stats.memory_mb(pids[0])
        cluster.stop()
        back_s = time.monotonic() + away_s
        wait_for(lambda: time.monotonic() > back_s, away_s + 5)
        during_mb = process_stats.memory_mb(pids[0])
        cluster.start()
        with Monitor(cluster, subject.database) as monitor:
            catch_up = _catch_up(subject, monitor, feed)
            wait_for(lambda: feed.state().ended_ns, seconds + 60, every_s=0.25)
            with contextlib.suppress(TimeoutError):
                wait_for(lambda: stored(subject, monitor) >= total, 10, every_s=0.25)
            return Outage(away_s, total, total - stored(subject, monitor), catch_up, before_mb, during_mb)


def _catch_up(subject: Subject, monitor: Monitor, feed: Feed) -> float:
    """Return the rows a second while the backlog is loaded, over the live rate."""
    before, began_s = stored(subject, monitor), time.monotonic()
    with contextlib.suppress(TimeoutError):
        wait_for(
            lambda: feed.state().generated - monitor.number(subject.rows_so_far) < OUTAGE_RATE / 2, 20, every_s=0.05
        )
    spent_s = max(time.monotonic() - began_s, 1e-9)
    return (stored(subject, monitor) - before) / spent_s / OUTAGE_RATE


def own_cpu_s(feed: Feed, pids: list[int], cluster: Cluster) -> float:
    """Return the CPU seconds of everything that belongs to the bench."""
    times = os.times()
    return times.user + times.system + feed.cpu_s() + sum(map(process_stats.cpu_s, pids)) + cluster.cpu_s()


def wait_for(condition: Callable[[], object], limit_s: float, every_s: float = 0.05) -> None:
    """Poll until a condition holds.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {limit_s:.0f} s")
        time.sleep(every_s)  # a poll: the condition above decides
