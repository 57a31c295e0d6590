"""Markets of Polymarket for tests: Gamma's rows, and the values that they become."""

import json
from typing import Any

from recorder.venues.polymarket.polls import gamma
from recorder.venues.polymarket.polls.market import Market

NOW_NS = 1_790_000_000 * 10**9  # 2026-09-21 14:13:20
HOUR_NS = 3_600 * 10**9
YES, NO = "10" + "1" * 74 + "01", "20" + "2" * 74 + "02"
CONDITION = "0x" + "ab" * 32


def iso(time_ns: int) -> str:
    """Return a time as Gamma writes it."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def gamma_row(**changes: Any) -> dict[str, Any]:
    """Return a row of an open market that ends in two hours; a change to None leaves the field out."""
    row = {
        "id": "1557558", "question": "Bitcoin Up or Down?", "conditionId": CONDITION, "slug": "btc-updown",
        "version": "v1", "outcomes": '["Up", "Down"]', "outcomePrices": '["0.505", "0.495"]',
        "clobTokenIds": json.dumps([YES, NO]), "active": True, "closed": False, "acceptingOrders": True,
        "enableOrderBook": True, "endDate": iso(NOW_NS + 2 * HOUR_NS), "startDate": iso(NOW_NS - 20 * HOUR_NS),
        "updatedAt": "2026-09-21T14:00:00.123456Z", "volumeNum": 5000.5, "volume24hr": 1000, "liquidityNum": "2000.25",
        "orderPriceMinTickSize": 0.01, "orderMinSize": 5, "negRisk": False, "negRiskOther": False,
        "tags": [{"id": "21", "label": "Crypto", "slug": "crypto"}],
        "events": [{"id": "260654", "slug": "btc-updown", "title": "Bitcoin", "volume": 9000, "openInterest": 70}],
    }  # fmt: skip
    return {key: value for key, value in (row | changes).items() if value is not None}


def gamma_body(*rows: dict[str, Any], cursor: str | None = None) -> bytes:
    """Return an answer of /markets/keyset."""
    return json.dumps({"markets": rows} | ({} if cursor is None else {"next_cursor": cursor})).encode()


def market(received_ns: int = NOW_NS, **changes: Any) -> Market:
    """Return the market of `gamma_row(**changes)`."""
    page = gamma.markets(gamma_body(gamma_row(**changes)), received_ns)
    assert not page.odd, page.odd
    return page.rows[0].market
