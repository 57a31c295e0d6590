"""The jobs of the poller: when each runs next, what became of its last round, and its runs."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from recorder.errors import ConfigError, StoreError
from recorder.printable import one_line
from recorder.process.health import JobFigures, PollerFigures
from recorder.web.access import Role, guarded
from recorder.web.monitor import formats
from recorder.web.queries import operations
from recorder.web.queries.monitoring import PollRow
from recorder.web.state import Web, web_of
from recorder.web.templates import render

State = Literal["", "done", "late", "missed", "failed", "skipped"]
_RUNS = 100
_FAR = timedelta(days=400)

pages = guarded(Role.viewer, include_in_schema=False)


@pages.get("/jobs")
def page(request: Request, part: str = "") -> Response:
    """Return all jobs, those with a problem first."""
    web = web_of(request)
    panel = web.monitor.shown("polls")["polls"]
    hour: dict[str, PollRow] = {row.job: row for row in panel.value or []}
    figures, reporting = _figures(web)
    jobs = [
        {
            "name": name,
            "job": figures.jobs.get(name, JobFigures()),
            "hour": hour.get(name),
            "sign": _sign(figures.jobs.get(name)),
        }
        for name in sorted({*figures.jobs, *hour})
    ]
    jobs.sort(key=lambda one: (one["sign"] == "good", one["sign"] == "unknown"))
    return render(
        request, "jobs_live.html" if part == "live" else "jobs.html", jobs=jobs, figures=figures, reporting=reporting,
        panel=panel, now=web.observed.now().at, f=formats,
    )  # fmt: skip


@pages.get("/jobs/{job}")
def runs(request: Request, job: str, state: State = "", before: datetime | None = None) -> Response:
    """Return the runs of a job, the newest first."""
    web = web_of(request)
    until = before if before is not None and before.tzinfo is not None else datetime.now(UTC) + _FAR
    found: list[operations.Run] = []
    problem = ""
    try:
        with web.pool.transaction() as cursor:
            found = operations.runs(cursor, job[:200], state, until, _RUNS)
    except (StoreError, ConfigError) as error:
        problem = one_line(str(error))[:300]
    figures, _ = _figures(web)
    return render(
        request, "job.html", job=job, state=state, states=("done", "late", "missed", "failed", "skipped"), runs=found,
        problem=problem, figures=figures.jobs.get(job), now=web.observed.now().at, f=formats,
        older=found[-1].slot if len(found) == _RUNS else None,
    )  # fmt: skip


def _figures(web: Web) -> tuple[PollerFigures, bool]:
    """Return what the poller reports, and whether it does so now."""
    seen = web.observed.now()
    report = seen.observation.reports.get("poller")
    if report is None or not isinstance(report.figures, PollerFigures):
        return PollerFigures(), False
    return report.figures, not report.stale(seen.at)


def _sign(job: JobFigures | None) -> str:
    if job is None:
        return "unknown"
    if job.problem or job.last_state == "failed" or job.overdue:
        return "bad" if job.problem or job.last_state == "failed" else "warn"
    return "good" if job.last_state else "unknown"
