"""What Yahoo's protocol page leaves uncertain, as questions to the service."""

from recorder.errors import RestInvalidResponse, RestRefused, RestUnavailable
from recorder.venues.questions import (
    Question,
    Questionnaire,
    Reply,
    Settled,
    Steps,
    Subject,
    agrees,
    differs,
    excerpt,
    judged,
    no_answer,
    require_service,
    rest,
)
from recorder.venues.yahoo.chart import decode_chart
from recorder.venues.yahoo.model import DAY_S, Chart
from recorder.venues.yahoo.requests import NAME, asked_of, span_path, today_path

_REQUEST = "yahoo.md, 1"
_LIMIT_DAYS = 30  # how far minutes reach back
_SPAN_DAYS = 8  # the most of one request for minutes
_HISTORY_DAYS = 3650
_UNKNOWN = "TAPEDECKNONE"


def _days_ago(subject: Subject, days: int) -> int:
    return subject.now_ns // 10**9 - days * DAY_S


def _chart(path: str, reply: Reply) -> Chart:
    """Decode an answer as the poller does.

    Raises:
        Settled: It is no chart of what was asked.
    """
    require_service(reply)
    try:
        return decode_chart(reply.status, reply.body, asked_of(path), reply.received_ns)
    except RestUnavailable as error:
        raise Settled(no_answer(str(error))) from error
    except (RestRefused, RestInvalidResponse) as error:
        raise Settled(differs(str(error))) from error


def _asked(path: str) -> Steps:
    reply = yield from rest(path, NAME)
    chart = _chart(path, reply)
    if chart.odd:
        return differs(f"{len(chart.odd)} odd rows, such as {chart.odd[0]}")
    return agrees(f"{len(chart.bars)} bars of {chart.interval_s} s, {chart.currency}, {chart.timezone}")


def _refused(path: str, statuses: tuple[int, ...]) -> Steps:
    reply = yield from rest(path, NAME)
    require_service(reply)
    return judged(reply.status in statuses, f"HTTP {reply.status}{excerpt(reply.body)}")


def _too_long(subject: Subject) -> Steps:
    first_s = _days_ago(subject, _SPAN_DAYS + 2)
    return _refused(span_path(subject.symbol, "1m", first_s, _days_ago(subject, 0)), (400, 422))


def _too_old(subject: Subject) -> Steps:
    first_s = _days_ago(subject, _LIMIT_DAYS + 5)
    return _refused(span_path(subject.symbol, "1m", first_s, first_s + DAY_S), (400, 422))


def _long(subject: Subject) -> Steps:
    return _asked(span_path(subject.symbol, "1d", _days_ago(subject, _HISTORY_DAYS), _days_ago(subject, 0)))


QUESTIONNAIRE = Questionnaire(
    symbol="AAPL",
    services=(NAME,),
    questions=(
        Question("today", "yahoo.md, 2", "a chart needs no crumb", lambda subject: _asked(today_path(subject.symbol))),
        Question(
            "half-hours", _REQUEST, "bars of 30 minutes are bars of 30 minutes",
            lambda subject: _asked(span_path(subject.symbol, "30m", _days_ago(subject, 5), _days_ago(subject, 0))),
        ),
        Question("long-history", _REQUEST, "ten years by period1 are days, not months", _long),
        Question("minutes-span", _REQUEST, "more than 8 days of minutes are refused", _too_long),
        Question("minutes-age", _REQUEST, "minutes of more than 30 days ago are refused", _too_old),
        Question(
            "unknown-symbol", "yahoo.md, 3", "an unknown symbol is HTTP 404",
            lambda subject: _refused(today_path(_UNKNOWN), (404,)),
        ),
        Question("request-limit", "yahoo.md, 2", "2,000 requests a day are allowed", needs="breaking the limit"),
        Question("pre-market", "yahoo.md, Traps", "bars outside the session have volume 0", needs="a pre-market hour"),
        Question("split", "yahoo.md, Traps", "a split rescales the complete past", needs="a split"),
    ),
)  # fmt: skip
