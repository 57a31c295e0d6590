"""The lists of the API: market data and evidence."""

from datetime import timedelta

from recorder.web.queries.listing import DAY, Column, Filter, Listing

_C = Column
_HOUR = timedelta(hours=1)
_WEEK = timedelta(days=7)
_NAMED = (_C("venue", "text", "i.venue"), _C("symbol", "text", "i.symbol"))
_VENUE = Filter("venue", "i.venue = %s", "Only this venue.")
_CHANNELS = ("trade", "quote", "book")

TRADES = Listing(
    "trades", "Trades of an instrument by the venue's clock", "trade",
    (_C("trade_id", "bigint", "trade_id::text"), _C("ts_event", "timestamptz"), _C("ts_recv", "timestamptz"),
     _C("price", "number"), _C("size", "number"),
     _C("side", "text", "CASE aggressor WHEN 'b' THEN 'buy' WHEN 's' THEN 'sell' END"), _C("venue_trade_id", "text")),
    (_C("ts_event", "timestamptz"), _C("trade_id", "bigint", "trade.trade_id")),
    time="ts_event", window=_HOUR, longest=_WEEK, order="asc", channel="trade", instrument="instrument_id",
)  # fmt: skip

QUOTES = Listing(
    "quotes", "Best bid and ask of an instrument by our clock", "quote",
    (_C("ts_recv", "timestamptz"), _C("ts_event", "timestamptz"), _C("bid", "number"), _C("bid_size", "number"),
     _C("ask", "number"), _C("ask_size", "number"), _C("sequence", "text", "sequence::text"),
     _C("session_id", "text", "session_id::text")),
    (_C("ts_recv", "timestamptz"), _C("frame_seq", "bigint"), _C("session_id", "bigint")),
    time="ts_recv", window=_HOUR, longest=_WEEK, order="asc", channel="quote", instrument="instrument_id",
)  # fmt: skip

BARS = Listing(
    "bars", "Bars of an instrument", "bar",
    (_C("start", "timestamptz"), _C("open", "number"), _C("high", "number"), _C("low", "number"),
     _C("close", "number"), _C("volume", "number"), _C("vwap", "number"), _C("trade_count", "integer"),
     _C("buy_volume", "number"), _C("sell_volume", "number"), _C("coverage", "number"), _C("in_gap", "boolean"),
     _C("complete", "boolean"), _C("revision", "integer")),
    (_C("start", "timestamptz"),),
    time="start", window=DAY, longest=timedelta(days=3660), order="asc", channel="trade", instrument="instrument_id",
    filters=(Filter("width_s", "interval_s = %s", "Length of a bar, seconds.", number=True),),
)  # fmt: skip

INSTRUMENTS = Listing(
    "instruments", "Instruments that venues list", "instrument i",
    (_C("instrument_id", "bigint"), *_NAMED, _C("canonical", "text"), _C("base", "text"), _C("quote", "text"),
     _C("kind", "text"), _C("tick_size", "number", "tick_size::float8"), _C("min_size", "number", "min_size::float8"),
     _C("status", "text"), _C("recorded", "boolean"), _C("first_seen", "timestamptz")),
    (_C("venue", "text", "i.venue"), _C("symbol", "text", "i.symbol")),
    order="asc",
    filters=(
        _VENUE,
        Filter("canonical", "i.canonical = %s", "Only this name, such as BTC-USD."),
        Filter("recorded", "i.recorded = (%s = 'true')", "Only those that are recorded, or not.", ("true", "false")),
        Filter("contains", "position(upper(%s) IN upper(i.symbol)) > 0", "Only symbols that contain this text."),
    ),
)  # fmt: skip

GAPS = Listing(
    "gaps", "Declared gaps: where rows may be missing, and why",
    "gap g LEFT JOIN instrument i ON i.instrument_id = g.instrument_id",
    (_C("gap_id", "bigint"), _C("instrument_id", "bigint", "g.instrument_id"), *_NAMED, _C("channel", "text"),
     _C("cause", "text"), _C("state", "text"), _C("reason", "text"), _C("started_at", "timestamptz"),
     _C("ended_at", "timestamptz"), _C("last_ts_event", "timestamptz"), _C("first_ts_event", "timestamptz"),
     _C("last_id", "bigint"), _C("first_id", "bigint"), _C("session_id", "bigint"), _C("revision", "integer")),
    (_C("started_at", "timestamptz"), _C("gap_id", "bigint")),
    overlap="(g.started_at < %(end)s AND (g.ended_at IS NULL OR g.ended_at >= %(start)s))",
    instrument="g.instrument_id",
    filters=(_VENUE, Filter("channel", "g.channel = %s", "Only this channel.", _CHANNELS),
             Filter("state", "g.state = %s", "Only this state.", ("open", "healed", "unhealable")),
             Filter("cause", "g.cause = %s", "Only this cause, such as disconnect.")),
)  # fmt: skip

CERTIFICATES = Listing(
    "certificates", "Certificates of hours of streams",
    "certificate c JOIN instrument i ON i.instrument_id = c.instrument_id",
    (_C("instrument_id", "bigint", "c.instrument_id"), *_NAMED, _C("channel", "text"), _C("hour", "timestamptz"),
     _C("revision", "integer"), _C("grade", "text"), _C("replay", "text"), _C("row_count", "bigint"),
     _C("open_gaps", "integer"), _C("made_at", "timestamptz"), _C("sha256", "text")),
    (_C("hour", "timestamptz"), _C("instrument_id", "bigint", "c.instrument_id"), _C("channel", "text"),
     _C("revision", "integer")),
    time="hour", window=DAY, instrument="c.instrument_id",
    filters=(_VENUE, Filter("channel", "c.channel = %s", "Only this channel.", _CHANNELS),
             Filter("grade", "c.grade = %s", "Only this grade, such as proved.")),
)  # fmt: skip

QUARANTINE = Listing(
    "quarantine", "Frames and rows that could not be decoded or stored",
    "quarantine q LEFT JOIN instrument i ON i.instrument_id = q.instrument_id",
    (_C("ts_recv", "timestamptz"), _C("scope", "text"), _C("reason", "text"), *_NAMED, _C("table_name", "text"),
     _C("session_id", "bigint"), _C("journal_id", "text"), _C("segment", "integer"), _C("position", "bigint"),
     _C("item", "integer"), _C("sample_bytes", "integer", "length(sample)"),
     _C("sample", "text", "encode(substr(sample, 1, 256), 'escape')"), _C("sha256", "text", "encode(sha256, 'hex')")),
    (_C("ts_recv", "timestamptz"), _C("journal_id", "text"), _C("segment", "integer"), _C("position", "bigint"),
     _C("item", "integer")),
    time="ts_recv", window=DAY,
    filters=(_VENUE, Filter("scope", "q.scope = %s", "Only this scope.", ("frame", "row", "block"))),
)  # fmt: skip

SUBSCRIPTIONS = Listing(
    "subscriptions", "What shall be recorded", "subscription",
    (_C("venue", "text"), _C("symbol", "text"), _C("channel", "text"), _C("active", "boolean"),
     _C("priority", "integer"), _C("origin", "text"), _C("created_at", "timestamptz"),
     _C("updated_at", "timestamptz")),
    (_C("venue", "text"), _C("symbol", "text"), _C("channel", "text")),
    order="asc",
    filters=(Filter("venue", "venue = %s", "Only this venue."),
             Filter("active", "active = (%s = 'true')", "Only active ones, or not.", ("true", "false"))),
)  # fmt: skip

CONNECTIONS = Listing(
    "connections", "Connections to venues, open and ended", "session",
    (_C("session_id", "bigint"), _C("venue", "text"), _C("recorder", "text"), _C("link", "integer"),
     _C("started_at", "timestamptz"), _C("ended_at", "timestamptz"), _C("end_reason", "text"),
     _C("last_frame_at", "timestamptz"), _C("frames", "bigint"), _C("bytes", "bigint"), _C("trades", "bigint"),
     _C("quotes", "bigint"), _C("books", "bigint"), _C("quarantined", "bigint")),
    (_C("started_at", "timestamptz"), _C("session_id", "bigint")),
    overlap="(started_at < %(end)s AND (ended_at IS NULL OR ended_at >= %(start)s))",
    filters=(Filter("venue", "venue = %s", "Only this venue."),),
)  # fmt: skip

ALERTS = Listing(
    "alerts", "Alerts that fired", "alert",
    (_C("alert_id", "bigint"), _C("rule", "text"), _C("subject", "text"), _C("severity", "text"), _C("state", "text"),
     _C("summary", "text"), _C("value", "number"), _C("started_at", "timestamptz"), _C("fired_at", "timestamptz"),
     _C("resolved_at", "timestamptz"), _C("action", "text"), _C("acknowledged_at", "timestamptz"),
     _C("acknowledged_note", "text"), _C("silenced_until", "timestamptz")),
    (_C("fired_at", "timestamptz"), _C("alert_id", "bigint")),
    overlap="(fired_at < %(end)s AND (resolved_at IS NULL OR resolved_at >= %(start)s))", window=timedelta(days=7),
    longest=timedelta(days=366),
    filters=(Filter("state", "state = %s", "Only this state.", ("firing", "resolved")),
             Filter("rule", "rule = %s", "Only this rule."),
             Filter("severity", "severity = %s", "Only this severity.", ("page", "ticket", "info"))),
)  # fmt: skip

POLLS = Listing(
    "polls", "Rounds of the poller", "poll_run",
    (_C("run_id", "bigint"), _C("job", "text"), _C("slot", "timestamptz"), _C("slots", "bigint"), _C("state", "text"),
     _C("reason", "text"), _C("started_at", "timestamptz"), _C("duration_s", "number"), _C("rows", "bigint"),
     _C("bytes", "bigint"), _C("answers", "bigint"), _C("attempts", "bigint"), _C("odd", "bigint")),
    (_C("slot", "timestamptz"), _C("run_id", "bigint")),
    time="slot", window=_HOUR,
    filters=(Filter("job", "job = %s", "Only this job."), Filter("state", "state = %s", "Only this state.")),
)  # fmt: skip

ERRORS = Listing(
    "errors", "Rounds of the poller that failed, with tracebacks", "poll_run",
    (_C("run_id", "bigint"), _C("job", "text"), _C("slot", "timestamptz"), _C("state", "text"), _C("reason", "text"),
     _C("failures", "json"), _C("request_ids", "json"), _C("traceback", "text")),
    (_C("slot", "timestamptz"), _C("run_id", "bigint")),
    time="slot", window=DAY, filters=(Filter("job", "job = %s", "Only this job."),),
)  # fmt: skip
ERRORS = ERRORS._replace(source="(SELECT * FROM poll_run WHERE state = 'failed' OR traceback IS NOT NULL) AS failed")

LISTINGS = (
    INSTRUMENTS, TRADES, QUOTES, GAPS, CERTIFICATES, QUARANTINE, SUBSCRIPTIONS, CONNECTIONS, ALERTS, POLLS, ERRORS,
)  # fmt: skip
