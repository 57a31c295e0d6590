"""The lists of the API about prediction markets, and of predictions of our models."""

from datetime import timedelta

from recorder.web.queries.listing import DAY, Column, Filter, Listing

_C = Column
_HOUR = timedelta(hours=1)

MARKETS = Listing(
    "markets", "Prediction markets", "market",
    (_C("market_id", "bigint"), _C("condition_id", "text"), _C("slug", "text"), _C("question", "text"),
     _C("outcomes", "json"), _C("tokens", "json"), _C("event_id", "bigint"), _C("category", "text"),
     _C("tags", "json"), _C("phase", "text"), _C("active", "boolean"), _C("accepting_orders", "boolean"),
     _C("start_at", "timestamptz"), _C("end_at", "timestamptz"), _C("price", "number"), _C("volume", "number"),
     _C("volume_24h", "number"), _C("liquidity", "number"), _C("tick_size", "number"),
     _C("resolution_status", "text"), _C("closed_at", "timestamptz"), _C("updated_at", "timestamptz")),
    (_C("market_id", "bigint"),),
    filters=(Filter("phase", "phase = %s", "Only this phase, such as open."),
             Filter("slug", "slug = %s", "Only this market."),
             Filter("category", "category = %s", "Only this category."),
             Filter("tag", "%s = ANY (tags)", "Only markets with this tag."),
             Filter("contains", "position(upper(%s) IN upper(question)) > 0", "Only questions with this text.")),
)  # fmt: skip

SNAPSHOTS = Listing(
    "snapshots", "Snapshots of the books of prediction markets", "market_snapshot",
    (_C("market_id", "bigint"), _C("instrument_id", "bigint"), _C("ts_recv", "timestamptz"),
     _C("ts_event", "timestamptz"), _C("tier", "text"), _C("source", "text"), _C("bid", "number"),
     _C("bid_size", "number"), _C("ask", "number"), _C("ask_size", "number"), _C("spread", "number"),
     _C("mid", "number"), _C("microprice", "number"), _C("bid_levels", "integer"), _C("ask_levels", "integer"),
     _C("bid_shares", "number"), _C("ask_shares", "number"), _C("imbalance_touch", "number"),
     _C("imbalance_5c", "number"), _C("last_trade_price", "number"), _C("volume", "number"),
     _C("volume_24h", "number"), _C("liquidity", "number"), _C("end_at", "timestamptz"), _C("book_check", "text")),
    (_C("ts_recv", "timestamptz"), _C("market_id", "bigint")),
    time="ts_recv", window=_HOUR, longest=timedelta(days=31), order="asc",
    filters=(Filter("market_id", "market_id = %s", "Only this market.", number=True),
             Filter("tier", "tier = %s", "Only this tier.", ("T0", "T1", "T2", "T3", "T4"))),
)  # fmt: skip

WHALES = Listing(
    "whales", "Large trades of prediction markets",
    "whale_event w LEFT JOIN market m ON m.condition_id = w.condition_id",
    (_C("transaction_hash", "text"), _C("wallet", "text"), _C("ts_event", "timestamptz"),
     _C("ts_recv", "timestamptz"), _C("condition_id", "text", "w.condition_id"),
     _C("instrument_id", "bigint", "w.instrument_id"), _C("slug", "text", "m.slug"),
     _C("question", "text", "m.question"), _C("outcome", "text"),
     _C("side", "text", "CASE side WHEN 'b' THEN 'buy' WHEN 's' THEN 'sell' END"), _C("shares", "number"),
     _C("cash", "number")),
    (_C("ts_event", "timestamptz"), _C("transaction_hash", "text"), _C("wallet", "text"),
     _C("instrument_id", "bigint", "w.instrument_id")),
    time="w.ts_event", window=DAY,
    filters=(Filter("condition_id", "w.condition_id = %s", "Only this market."),
             Filter("least_cash", "w.cash >= %s", "Only trades of at least this many USDC.", number=True)),
)  # fmt: skip

PREDICTIONS = Listing(
    "predictions", "Predictions of our models", "prediction",
    (_C("model_name", "text"), _C("model_version", "text"), _C("subject", "text"), _C("decided_at", "timestamptz"),
     _C("probability", "number"), _C("baseline", "number"), _C("scored_at", "timestamptz")),
    (_C("decided_at", "timestamptz"), _C("model_name", "text"), _C("model_version", "text"), _C("subject", "text")),
    time="decided_at", window=DAY, longest=timedelta(days=366),
    filters=(Filter("model_name", "model_name = %s", "Only this model."),
             Filter("subject", "subject = %s", "Only about this subject.")),
)  # fmt: skip

LISTINGS = (MARKETS, SNAPSHOTS, WHALES, PREDICTIONS)
