"""The questions of the checker. Each query returns one row per problem, described in its first column."""

# A gap covers an item by its ids where both ends have one, else by the time in which the item was on its way.
_COVERED = """
    EXISTS (
        SELECT FROM hole g
         WHERE (g.venue, g.symbol, g.channel) = (m.venue, m.symbol, m.channel)
           AND CASE WHEN g.last_id IS NOT NULL AND g.first_id IS NOT NULL AND m.sequence IS NOT NULL
               THEN m.sequence > g.last_id AND (m.sequence < g.first_id
                                                -- a snapshot contains what has its id or an earlier one
                                                OR (m.channel <> 'trade' AND m.sequence = g.first_id))
               ELSE g.started_at <= m.until AND (g.last_id IS NULL OR m.sequence IS NULL OR m.sequence > g.last_id)
                    AND (g.first_id IS NULL OR m.sequence IS NULL OR m.sequence < g.first_id)
                    -- At the receipt of the neighbour before it the item had not come, unless all came at once.
                    AND (g.ended_at IS NULL OR g.ended_at > m.since OR (g.ended_at = m.since AND m.since = m.until))
               END)"""

# When a session takes over from another, the snapshot with which it begins replaces what the old one had not delivered.
_OVERTAKEN = """
    m.kind = 'd' AND EXISTS (
        SELECT FROM snapshot s
         WHERE (s.venue, s.symbol) = (m.venue, m.symbol) AND s.ts_recv BETWEEN m.since AND m.until
           AND coalesce(s.sequence >= m.sequence, s.key >= m.key))
    AND EXISTS (
        SELECT FROM connection o
         WHERE o.venue = m.venue AND o.connection <> m.connection AND o.opened_at <= m.made_at
           AND (o.closed_at IS NULL OR o.closed_at >= m.made_at))"""

_NAME = "{0}.venue || ' ' || {0}.symbol || ' ' || {0}.channel || ' ' || {0}.kind || {0}.key"

CHECKS: dict[str, str] = {
    "missing": f"""
        SELECT min({_NAME.format("m")} || CASE WHEN NOT m.sent THEN ' (sent to no connection)'
                       WHEN NOT m.readable THEN ' (spoiled on its way)' ELSE '' END
                   || ', made ' || m.made_at || ', on its way ' || m.since || ' to ' || m.until)
          FROM missing m GROUP BY m.item HAVING NOT bool_or({_COVERED} OR {_OVERTAKEN})""",
    "never sent": """
        SELECT coalesce(s.venue || ' ' || s.symbol, 'an instrument without a name') || ' ' || s.channel || ' '
               || s.kind || coalesce(s.key::text, '') || ', received ' || s.ts_recv
          FROM matched s LEFT JOIN sendings n USING (item) WHERE s.item IS NULL OR n.item IS NULL""",
    "wrong value": f"SELECT {_NAME.format('s')} || ', received ' || s.ts_recv FROM matched s "
    "WHERE s.item IS NOT NULL AND NOT s.equal",
    # While a session takes over from another, the quote at which its stream switches may come from both.
    "stored twice": f"""
        SELECT {_NAME.format("i")} || ': ' || r.rows || ' rows of ' || n.connections || ' connections'
          FROM receipt r JOIN item i USING (item) JOIN sendings n USING (item)
         WHERE r.rows > 1 AND (i.channel <> 'quote' OR r.rows > r.sessions OR r.rows > n.connections)""",
    "switched more than once": """
        SELECT i.venue || ' ' || i.symbol || ': ' || count(*) || ' quotes are stored from the same two sessions'
          FROM receipt r JOIN item i USING (item)
          JOIN LATERAL (SELECT array_agg(DISTINCT session_id ORDER BY session_id) AS pair
                          FROM matched WHERE matched.item = r.item) p ON true
         WHERE r.rows > 1 AND i.channel = 'quote' AND r.rows = r.sessions
         GROUP BY i.venue, i.symbol, p.pair HAVING count(*) > 1""",
    "gap without end": """
        SELECT coalesce(i.venue || ' ' || i.symbol, g.instrument_id::text) || ' ' || g.channel || ' ' || g.cause
               || ', since ' || g.started_at
          FROM gap g LEFT JOIN instrument i USING (instrument_id) WHERE g.ended_at IS NULL""",
    "gap ends before it begins": """
        SELECT concat_ws(' ', i.venue, i.symbol, g.channel, g.cause, g.state, g.started_at, 'to', g.ended_at,
                         'ids', g.last_id, 'to', g.first_id)
          FROM gap g LEFT JOIN instrument i USING (instrument_id)
         WHERE g.ended_at < g.started_at OR g.first_id <= g.last_id""",
    "ledger": """
        SELECT l.table_name || ': ' || l.inserted || ' inserted, ' || c.rows || ' rows, ' || l.wrong || ' unbalanced'
          FROM (SELECT table_name, sum(inserted) AS inserted,
                       count(*) FILTER (WHERE offered <> inserted + duplicate + quarantined) AS wrong
                  FROM load_ledger GROUP BY table_name) l
          JOIN (SELECT 'trade' AS table_name, count(*) AS rows FROM trade
                UNION ALL SELECT 'quote', count(*) FROM quote
                UNION ALL SELECT 'book', count(*) FROM book) c USING (table_name)
         WHERE l.inserted <> c.rows OR l.wrong > 0""",
    "session": """
        SELECT s.session_id || ' ' || s.venue || ': ' || s.started_at || ', last frame '
               || coalesce(s.last_frame_at::text, 'none') || ', end ' || coalesce(s.ended_at::text, 'none')
          FROM session s
         WHERE s.ended_at < s.started_at OR s.last_frame_at < s.started_at OR s.last_frame_at > s.ended_at
            OR s.started_at > now() OR s.ended_at > now()""",
    "row without session": """
        SELECT m.venue || ' ' || m.channel || ' of session ' || m.session_id || ': ' || count(*) || ' rows'
          FROM matched m
         WHERE m.session_id IS NOT NULL
           AND NOT EXISTS (SELECT FROM session s WHERE s.session_id = m.session_id)
         GROUP BY m.venue, m.channel, m.session_id""",
}

# Stored rows inside a gap that is not healed: the gap declares more than is missing.
COVERAGE = """
    SELECT h.venue || ' ' || h.symbol || ' ' || h.channel || ' ' || h.cause || ' ' || h.started_at
           || ' to ' || h.ended_at || ' ids ' || coalesce(h.last_id::text, '-')
           || ' to ' || coalesce(h.first_id::text, '-'),
           count(*) AS rows
      FROM hole h
      JOIN matched m ON (m.venue, m.symbol, m.channel) = (h.venue, h.symbol, h.channel)
     WHERE CASE WHEN h.last_id IS NOT NULL AND h.first_id IS NOT NULL AND m.sequence IS NOT NULL
           THEN m.sequence > h.last_id AND m.sequence < h.first_id
           ELSE m.ts_recv > h.started_at AND m.ts_recv < h.ended_at END
     GROUP BY h.gap_id, h.venue, h.symbol, h.channel, h.cause, h.started_at, h.ended_at, h.last_id, h.first_id
     ORDER BY rows DESC"""

COUNTS = """
    SELECT (SELECT count(*) FROM sendings), (SELECT count(*) FROM receipt),
           (SELECT count(DISTINCT item) FROM missing WHERE sent),
           (SELECT count(DISTINCT item) FROM missing WHERE NOT sent),
           (SELECT count(*) FROM gap)"""

SNAPSHOTS = """
    SELECT i.symbol, b.sequence, b.ts_recv, b.bids, b.asks
      FROM book b JOIN instrument i USING (instrument_id)
     WHERE i.venue = 'binance' AND b.kind = 's' ORDER BY i.symbol, b.sequence"""
