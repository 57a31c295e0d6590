"""`tapedeck probe` where one assumption is broken: exactly the question about it differs."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.simulator.probed import Probed, alter_rest, alter_stream, ask, probed

from recorder.simulator.wire import Request, Response

Break = Callable[[Probed, pytest.MonkeyPatch], None]


class Broken(NamedTuple):
    """One broken assumption, and the questions that must notice it."""

    venue: str
    questions: set[str]
    seen: str  # part of what the first of them saw
    break_it: Break


def rest(service: str, where: str, change: Callable[[Any], Any]) -> Break:
    """Change the JSON of the answers to requests that match."""

    def changed(request: Request, response: Response) -> Response:
        if re.search(where, _target(request)) and response.status == 200:
            response.body = json.dumps(change(json.loads(response.body))).encode()
        return response

    return lambda one, monkeypatch: alter_rest(one, monkeypatch, service, changed)


def status(service: str, where: str, number: int, body: bytes = b"{}") -> Break:
    """Answer requests that match with another status."""

    def changed(request: Request, response: Response) -> Response:
        return Response(number, body) if re.search(where, _target(request)) else response

    return lambda one, monkeypatch: alter_rest(one, monkeypatch, service, changed)


def header(service: str, where: str, **headers: str) -> Break:
    """Add headers to the answers to requests that match."""

    def changed(request: Request, response: Response) -> Response:
        if re.search(where, _target(request)):
            response.headers = {**response.headers, **headers}
        return response

    return lambda one, monkeypatch: alter_rest(one, monkeypatch, service, changed)


def stream(find: bytes, put: bytes) -> Break:
    """Replace a text in the messages of the stream."""
    return lambda _, monkeypatch: alter_stream(monkeypatch, lambda payload: re.sub(find, put, payload))


def fault(action: str, **arguments: str | int) -> Break:
    """Set a fault of the simulated venue."""

    def set_it(one: Probed, _: pytest.MonkeyPatch) -> None:
        assert one.venue is not None
        one.venue.do(action, **arguments)

    return set_it


def service_fault(service: str, action: str, **arguments: str | int) -> Break:
    """Set a fault of a simulated service, until it is healed."""

    def set_it(one: Probed, _: pytest.MonkeyPatch) -> None:
        assert one.services is not None
        one.services.do(service, action, times=None, **arguments)

    return set_it


def _target(request: Request) -> str:
    query = "&".join(f"{name}={value}" for name, value in request.pairs)
    return f"{request.path}?{query}{request.body.decode()}"


def _put(rows: Any, **fields: object) -> Any:
    """Set fields in every row of an answer, or of its `data`."""
    for row in rows["data"] if isinstance(rows, dict) else rows:
        row.update(fields)
    return rows


def _milliseconds(rows: Any) -> Any:
    return [{**row, "time": row["time"][:23] + "Z"} for row in rows]


def _doubled(answer: Any) -> Any:
    """Answer with the rows twice, as a venue does that ignores the limit."""
    return {**answer, "data": answer["data"] * 2}


def _rows(answer: Any) -> Any:
    """Return the rows of a page of Kraken."""
    return next(rows for key, rows in answer["result"].items() if key != "last")


def _one_more(answer: Any) -> Any:
    rows = _rows(answer)
    rows.insert(0, [*rows[0][:6], rows[0][6] - 1])
    return answer


def _makers(answer: Any) -> Any:
    """Answer with the maker's sides."""
    for row in _rows(answer):
        row[3] = {"b": "s", "s": "b"}[row[3]]
    return answer


def inclusive_since(one: Probed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Kraken's `since` include the trades of its instant."""
    assert one.venue is not None
    venue = one.venue.venue

    def changed(request: Request, response: Response) -> Response:
        since = request.query.get("since")
        if since is None:
            return response
        query = {**request.query, "since": str(int(since) - 1)}
        return venue.get(Request("GET", request.path, query, request.headers, b"", list(query.items())), 0)

    alter_rest(one, monkeypatch, "", changed)


def _wide(answer: Any) -> Any:
    """Answer with condition ids of 64 digits in every row."""
    for row in answer["markets"]:
        row["conditionId"] = row["conditionId"].ljust(66, "0")
    return answer


CASES = [
    Broken("kraken", {"trade-ids"}, "holes", fault("skip", times=1)),
    Broken("kraken", {"books"}, "checksum", fault("checksum", times=1)),
    Broken("kraken", {"subscriptions"}, "refused", fault("refuse", channel="quote", reason="Rate limit")),
    Broken("kraken", {"messages"}, "not understood", stream(rb'("channel":"ticker)(","type")', rb"\g<1>2\2")),
    Broken("kraken", {"v2-names"}, "DOGE/USD", stream(rb'"symbol":"DOGE/USD","base"', rb'"symbol":"XDG/USD","base"')),
    Broken("kraken", {"refusal"}, "no symbol", stream(rb'"symbol":"TAPEDECK/NONE",', rb"")),
    Broken("kraken", {"trades-page"}, "51 rows of 50", rest("", "count=50$", _one_more)),
    Broken("kraken", {"trades-since"}, "of this instant again", inclusive_since),
    Broken("kraken", {"trades-equal"}, "stream", rest("", "count=50&since=", _makers)),
    Broken("coinbase", {"rest-times"}, "3 decimals", rest("", r"trades\?limit=20$", _milliseconds)),
    Broken("coinbase", {"cursors"}, "CB-BEFORE", header("", r"trades\?limit=20$", **{"CB-AFTER": "7"})),
    Broken("coinbase", {"trades-after"}, "begins at", rest("", r"limit=20&after=", lambda rows: rows[3:])),
    Broken("coinbase", {"trades-before"}, "gives", rest("", "before=", lambda rows: rows[1:][::-1])),
    Broken("binance", {"no-key"}, "wants a key", status("", r"historicalTrades.*limit=20$", 400, b'{"code":-2014}')),
    Broken("binance", {"rest-weight"}, "1200", rest("", "exchangeInfo", lambda answer: _weight(answer, 1200))),
    Broken("okx", {"checksum"}, "checksum: 7", stream(rb'"checksum":0', rb'"checksum":7')),
    Broken("okx", {"page-limit"}, "200 rows", rest("", "limit=300", _doubled)),
    Broken("okx", {"rest-book"}, "seqId: None", rest("", "market/books", lambda rows: _put(rows, seqId=None))),
    Broken("okx", {"refusal"}, "no such channel", stream(rb"Wrong URL or channel:[^\"]*", rb"no such channel")),
    Broken("bitfinex", {"te-tu"}, "te (", stream(rb'("tu",\[\d+,\d+,-?)', rb"\g<1>9")),
    Broken("bitfinex", {"bad-symbol"}, "HTTP 400", status("", "tTAPENONE", 400, b'["error",10020,"symbol: invalid"]')),
    Broken("figure", {"listing-size"}, "HTTP 200", status("", "size=51", 200, b'{"data":[]}')),
    Broken("figure", {"increments"}, "tickSize", rest("", "page=1&size=50", lambda rows: _put(rows, tickSize=1))),
    Broken("polymarket", {"v1-gone"}, "HTTP 200", status("data", r"^/trades\?", 200, b"[]")),
    Broken("polymarket", {"list-cache"}, "age: 120", header("gamma", r"markets/keyset\?limit=1&at", Age="120")),
    Broken("polymarket", {"books-limit"}, "HTTP 200", status("clob", '"token_id":"501"', 200, b"[]")),
    Broken("polymarket", {"list-cursor"}, "own cursor", service_fault("gamma", "echo_cursor", path="/markets")),
    Broken("polymarket", {"feed-cursor"}, "own cursor", service_fault("data", "echo_cursor", path="/v2/trades")),
    Broken("polymarket", {"v2-row"}, "64 digits", rest("gamma", "version=v2", _wide)),
    Broken("yahoo", {"half-hours"}, "30m", rest("yahoo", "interval=30m", lambda answer: _granularity(answer, "1h"))),
    Broken("yahoo", {"unknown-symbol"}, "HTTP 200", status("yahoo", "TAPEDECKNONE", 200)),
]  # fmt: skip


def _weight(answer: Any, limit: int) -> Any:
    answer["rateLimits"][0]["limit"] = limit
    return answer


def _granularity(answer: Any, interval: str) -> Any:
    answer["chart"]["result"][0]["meta"]["dataGranularity"] = interval
    return answer


@pytest.mark.parametrize("case", CASES, ids=[f"{case.venue}-{min(case.questions)}" for case in CASES])
def test_exactly_the_question_about_it_differs(
    case: Broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with probed(case.venue, tmp_path, monkeypatch) as one:
        case.break_it(one, monkeypatch)
        answers = ask(case.venue, capsys, "--timeout", "15")
    differing = {question for question, state in answers.states.items() if state == "differs"}
    assert differing - UNSERVED == case.questions, answers.report
    assert case.seen in answers.seen(min(case.questions))
    assert answers.code == 1


UNSERVED = {"candles", "candle-count", "retention"}
