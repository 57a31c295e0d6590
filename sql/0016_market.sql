-- 0016_market.sql: prediction markets: their newest state, each changed value, their events, and how they ended.

CREATE TABLE market (
    market_id          bigint           PRIMARY KEY,
    condition_id       text             NOT NULL CHECK (condition_id ~ '^0x[0-9a-f]{64}$'),
    version            text,
    tokens             text[]           NOT NULL,
    outcomes           text[]           NOT NULL,
    slug               text             NOT NULL,
    question           text             NOT NULL,
    event_id           bigint,
    category           text             NOT NULL,
    tags               text[]           NOT NULL,
    phase              text             NOT NULL,
    accepting_orders   boolean,
    enable_order_book  boolean,
    neg_risk           boolean          NOT NULL,
    neg_risk_other     boolean          NOT NULL,
    active             boolean          NOT NULL,
    start_at           timestamptz,
    end_at             timestamptz,
    game_start_at      timestamptz,
    game               text,
    tick_size          double precision,
    min_size           double precision,
    fee_rate           double precision,
    fee_exponent       double precision,
    fee_taker_only     boolean,
    fee_rebate_rate    double precision,
    rewards_min_size   double precision,
    rewards_max_spread double precision,
    rewards_daily_rate double precision,
    uma_status         text,
    resolution_status  text,
    closed_at          timestamptz,
    neg_risk_market_id text,
    question_id        text,
    resolution_source  text,
    group_item         text,
    line               double precision,
    price              double precision,
    volume             double precision,
    volume_24h         double precision,
    liquidity          double precision,
    known_since        timestamptz      NOT NULL,
    known_at           timestamptz      NOT NULL,
    updated_at         timestamptz,
    revision           bigint           NOT NULL
);
CREATE INDEX market_condition ON market (condition_id);
CREATE INDEX market_event_id ON market (event_id);
CREATE INDEX market_open ON market (end_at) WHERE phase IN ('open', 'proposed');
COMMENT ON TABLE  market                    IS 'Newest known state of each prediction market of Polymarket. Written by bin/writer from the journal of bin/poller.';
COMMENT ON COLUMN market.market_id          IS 'Gamma''s id.';
COMMENT ON COLUMN market.condition_id       IS 'Condition id, 0x and 64 hex digits; one of 62 digits is padded.';
COMMENT ON COLUMN market.version            IS 'v1 or v2; NULL where the venue does not say and no ids are assigned.';
COMMENT ON COLUMN market.tokens             IS 'Ids under which the outcomes trade, in the order of outcomes; the symbols in instrument. Empty before they are assigned.';
COMMENT ON COLUMN market.outcomes           IS 'Labels of the outcomes. The first one is Yes only where its label says so.';
COMMENT ON COLUMN market.slug               IS 'Name in the venue''s addresses.';
COMMENT ON COLUMN market.question           IS 'Question, for a person.';
COMMENT ON COLUMN market.event_id           IS 'Event whose markets belong together (market_event).';
COMMENT ON COLUMN market.category           IS 'politics, sports, crypto, economy, weather, tech, culture, world, mentions or other; the first that a tag names.';
COMMENT ON COLUMN market.tags               IS 'Slugs of its tags.';
COMMENT ON COLUMN market.phase              IS 'open; proposed: an outcome is proposed or disputed; resolved: final; closed: closed without a known outcome; vanished: Gamma no longer has it.';
COMMENT ON COLUMN market.accepting_orders   IS 'Whether it takes orders, as the venue says; it says so of some resolved markets, too.';
COMMENT ON COLUMN market.enable_order_book  IS 'Whether it has an order book.';
COMMENT ON COLUMN market.neg_risk           IS 'Whether the markets of its event exclude each other.';
COMMENT ON COLUMN market.neg_risk_other     IS 'Whether it is the "Other" of an event, whose meaning changes.';
COMMENT ON COLUMN market.active             IS 'False: a placeholder.';
COMMENT ON COLUMN market.start_at           IS 'Start, UTC.';
COMMENT ON COLUMN market.end_at             IS 'Scheduled end (endDate), UTC; neither a trading stop nor the true end.';
COMMENT ON COLUMN market.game_start_at      IS 'Start of its game or of its price window, UTC.';
COMMENT ON COLUMN market.game               IS 'Kind or id of its game; NULL where it is about none.';
COMMENT ON COLUMN market.tick_size          IS 'Smallest price step, probability.';
COMMENT ON COLUMN market.min_size           IS 'Smallest order, shares.';
COMMENT ON COLUMN market.fee_rate           IS 'Taker fee = shares * fee_rate * (p * (1 - p)) ^ fee_exponent, USDC; NULL: free.';
COMMENT ON COLUMN market.fee_exponent       IS 'Exponent of the fee formula.';
COMMENT ON COLUMN market.fee_taker_only     IS 'Whether only takers pay.';
COMMENT ON COLUMN market.fee_rebate_rate    IS 'Share of the fee that makers receive, 0 to 1.';
COMMENT ON COLUMN market.rewards_min_size   IS 'Smallest order that earns liquidity rewards, shares.';
COMMENT ON COLUMN market.rewards_max_spread IS 'Largest distance from the mid that earns liquidity rewards, cents.';
COMMENT ON COLUMN market.rewards_daily_rate IS 'Liquidity rewards of all programs, USDC a day.';
COMMENT ON COLUMN market.uma_status         IS 'umaResolutionStatus, in the venue''s word; it counts for v1.';
COMMENT ON COLUMN market.resolution_status  IS 'resolutionStatus, in the venue''s word; it counts for v2.';
COMMENT ON COLUMN market.closed_at          IS 'When it closed, UTC. Known only afterwards: never a feature.';
COMMENT ON COLUMN market.neg_risk_market_id IS 'Id that the markets of an event share on the chain; NULL where they do not exclude each other.';
COMMENT ON COLUMN market.question_id        IS 'UMA''s hash of the question; not the condition id.';
COMMENT ON COLUMN market.resolution_source  IS 'What the rules name as the source of the outcome.';
COMMENT ON COLUMN market.group_item         IS 'What distinguishes it in its event.';
COMMENT ON COLUMN market.line               IS 'Line of a spread or a total, in the unit of the game.';
COMMENT ON COLUMN market.price              IS 'Price of outcome 0 by Gamma, probability; as of known_at.';
COMMENT ON COLUMN market.volume             IS 'Traded in its life, USDC; as of known_at.';
COMMENT ON COLUMN market.volume_24h         IS 'Traded in 24 hours, USDC; as of known_at.';
COMMENT ON COLUMN market.liquidity          IS 'Liquidity by Gamma, USDC; as of known_at.';
COMMENT ON COLUMN market.known_since        IS 'Receipt time of the first answer with it, UTC.';
COMMENT ON COLUMN market.known_at           IS 'Receipt time of the answer with this state, UTC. A state whose numbers alone changed is stored once an hour.';
COMMENT ON COLUMN market.updated_at         IS 'updatedAt, by the venue''s clock, UTC.';
COMMENT ON COLUMN market.revision           IS 'The row of the highest revision counts. It rises with known_at.';

CREATE FUNCTION keep_known_since() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    NEW.known_since := least(OLD.known_since, NEW.known_since);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION keep_known_since() IS 'Keeps the earlier of two values of known_since.';
CREATE TRIGGER market_known_since BEFORE UPDATE ON market FOR EACH ROW EXECUTE FUNCTION keep_known_since();

CREATE TABLE market_rules (
    market_id bigint      PRIMARY KEY,
    rules     text        NOT NULL,
    known_at  timestamptz NOT NULL,
    revision  bigint      NOT NULL
);
COMMENT ON TABLE  market_rules           IS 'Newest known rules of each market. Written by bin/writer from the journal of bin/poller.';
COMMENT ON COLUMN market_rules.market_id IS 'Market (market).';
COMMENT ON COLUMN market_rules.rules     IS 'Text by which it resolves; the end of an endless one is cut.';
COMMENT ON COLUMN market_rules.known_at  IS 'Receipt time of the first answer with these rules, UTC.';
COMMENT ON COLUMN market_rules.revision  IS 'The row of the highest revision counts. It rises with known_at.';

CREATE TABLE market_history (
    market_id  bigint      NOT NULL,
    field      text        NOT NULL,
    known_at   timestamptz NOT NULL,
    old_value  jsonb,
    value      jsonb,
    updated_at timestamptz,
    PRIMARY KEY (market_id, field, known_at)
);
CREATE INDEX market_history_known_at ON market_history USING brin (known_at);
COMMENT ON TABLE  market_history            IS 'Each change of a value of a market, with both times: when the venue changed it and when we knew. The value at a time is old_value of the first change after it, else that of market. Numbers are in market_snapshot.';
COMMENT ON COLUMN market_history.market_id  IS 'Market (market).';
COMMENT ON COLUMN market_history.field      IS 'Column of market, or rules.';
COMMENT ON COLUMN market_history.known_at   IS 'Receipt time of the first answer with the new value, UTC.';
COMMENT ON COLUMN market_history.old_value  IS 'Value before, in the unit of the column; times as UTC text; NULL where it had none. NULL for rules.';
COMMENT ON COLUMN market_history.value      IS 'Value after.';
COMMENT ON COLUMN market_history.updated_at IS 'updatedAt of that answer, by the venue''s clock, UTC.';

-- A poller that was killed may find a change a second time, because its memory is older than the journal.
CREATE FUNCTION skip_known_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    last_value jsonb;
BEGIN
    SELECT h.value INTO last_value
      FROM public.market_history h
     WHERE h.market_id = NEW.market_id AND h.field = NEW.field AND h.known_at < NEW.known_at
     ORDER BY h.known_at DESC LIMIT 1;
    IF FOUND AND last_value IS NOT DISTINCT FROM NEW.value THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION skip_known_change() IS 'Leaves out a change to the value that market_history has already.';
CREATE TRIGGER market_history_new BEFORE INSERT ON market_history FOR EACH ROW EXECUTE FUNCTION skip_known_change();

CREATE TABLE market_event (
    event_id           bigint           PRIMARY KEY,
    slug               text,
    title              text,
    series_slug        text,
    neg_risk           boolean          NOT NULL,
    neg_risk_augmented boolean          NOT NULL,
    neg_risk_market_id text,
    closed             boolean,
    start_at           timestamptz,
    end_at             timestamptz,
    volume             double precision,
    liquidity          double precision,
    open_interest      double precision,
    known_at           timestamptz      NOT NULL,
    updated_at         timestamptz,
    revision           bigint           NOT NULL
);
COMMENT ON TABLE  market_event                    IS 'Newest known state of each event, a group of markets. Written by bin/writer from the journal of bin/poller.';
COMMENT ON COLUMN market_event.event_id           IS 'Gamma''s id.';
COMMENT ON COLUMN market_event.slug               IS 'Name in the venue''s addresses.';
COMMENT ON COLUMN market_event.title              IS 'Title, for a person.';
COMMENT ON COLUMN market_event.series_slug        IS 'Series of recurring events it belongs to.';
COMMENT ON COLUMN market_event.neg_risk           IS 'Whether its markets exclude each other.';
COMMENT ON COLUMN market_event.neg_risk_augmented IS 'Whether it has placeholders and an "Other".';
COMMENT ON COLUMN market_event.neg_risk_market_id IS 'Id that its markets share on the chain.';
COMMENT ON COLUMN market_event.closed             IS 'Whether all of it is closed.';
COMMENT ON COLUMN market_event.start_at           IS 'Start, UTC.';
COMMENT ON COLUMN market_event.end_at             IS 'Scheduled end, UTC.';
COMMENT ON COLUMN market_event.volume             IS 'Traded in the life of all its markets, USDC; as of known_at.';
COMMENT ON COLUMN market_event.liquidity          IS 'Liquidity of its markets, USDC; as of known_at.';
COMMENT ON COLUMN market_event.open_interest      IS 'Open interest, USDC; as of known_at.';
COMMENT ON COLUMN market_event.known_at           IS 'Receipt time of the answer with this state, UTC.';
COMMENT ON COLUMN market_event.updated_at         IS 'updatedAt, by the venue''s clock, UTC.';
COMMENT ON COLUMN market_event.revision           IS 'The row of the highest revision counts. It rises with known_at.';

CREATE TABLE resolution (
    market_id    bigint      PRIMARY KEY,
    condition_id text        NOT NULL,
    payout_0     bigint      NOT NULL CHECK (payout_0 BETWEEN 0 AND 1000000),
    payout_1     bigint      NOT NULL,
    sources      text[]      NOT NULL CHECK (cardinality(sources) > 0),
    resolved_at  timestamptz,
    disputed     boolean,
    known_at     timestamptz NOT NULL,
    checked_at   timestamptz,
    raw          jsonb       NOT NULL,
    revision     bigint      NOT NULL,
    CONSTRAINT resolution_one_share CHECK (payout_0 + payout_1 = 1000000)
);
CREATE INDEX resolution_known_at ON resolution (known_at);
COMMENT ON TABLE  resolution              IS 'How each market ended: two sources agree, or one said so for 24 hours and none said otherwise. Nothing is taken from prices. A label that was replaced is in resolution_history. Written by bin/writer from the journal of bin/poller.';
COMMENT ON COLUMN resolution.market_id    IS 'Market (market).';
COMMENT ON COLUMN resolution.condition_id IS 'Condition id, 0x and 64 hex digits.';
COMMENT ON COLUMN resolution.payout_0     IS 'What a share of outcome 0 pays, micro-USDC: 1000000 or 0; another split, such as 500000, is no label of binary training.';
COMMENT ON COLUMN resolution.payout_1     IS 'What a share of outcome 1 pays, micro-USDC.';
COMMENT ON COLUMN resolution.sources      IS 'Sources that say so: resolutions and tokens (Data API), clob, gamma.';
COMMENT ON COLUMN resolution.resolved_at  IS 'When it resolved, by the venue''s clock, UTC; NULL where no source says it.';
COMMENT ON COLUMN resolution.disputed     IS 'Whether the resolution was disputed; NULL where no source says it.';
COMMENT ON COLUMN resolution.known_at     IS 'Receipt time of the answer that decided it first, UTC; of a changed label, of the answer that changed it.';
COMMENT ON COLUMN resolution.checked_at   IS 'When it was compared with its source again, 72 hours later, UTC; NULL before.';
COMMENT ON COLUMN resolution.raw          IS 'Answer of each source.';
COMMENT ON COLUMN resolution.revision     IS 'The row of the highest revision counts.';

CREATE TABLE resolution_history (
    market_id    bigint      NOT NULL,
    condition_id text        NOT NULL,
    payout_0     bigint      NOT NULL,
    payout_1     bigint      NOT NULL,
    sources      text[]      NOT NULL,
    resolved_at  timestamptz,
    disputed     boolean,
    known_at     timestamptz NOT NULL,
    checked_at   timestamptz,
    raw          jsonb       NOT NULL,
    replaced_at  timestamptz NOT NULL,
    PRIMARY KEY (market_id, known_at)
);
COMMENT ON TABLE  resolution_history              IS 'Earlier labels of markets whose payouts changed; the one that counts is in resolution. Written by a trigger.';
COMMENT ON COLUMN resolution_history.market_id    IS 'Market (market).';
COMMENT ON COLUMN resolution_history.condition_id IS 'Condition id, 0x and 64 hex digits.';
COMMENT ON COLUMN resolution_history.payout_0     IS 'What a share of outcome 0 was to pay, micro-USDC.';
COMMENT ON COLUMN resolution_history.payout_1     IS 'What a share of outcome 1 was to pay, micro-USDC.';
COMMENT ON COLUMN resolution_history.sources      IS 'Sources that said so.';
COMMENT ON COLUMN resolution_history.resolved_at  IS 'When it resolved, by the venue''s clock, UTC; NULL where no source said it.';
COMMENT ON COLUMN resolution_history.disputed     IS 'Whether the resolution was disputed; NULL where no source said it.';
COMMENT ON COLUMN resolution_history.known_at     IS 'Receipt time of the answer that decided it, UTC.';
COMMENT ON COLUMN resolution_history.checked_at   IS 'When it was compared with its source again, UTC; NULL before.';
COMMENT ON COLUMN resolution_history.raw          IS 'Answer of each source.';
COMMENT ON COLUMN resolution_history.replaced_at  IS 'known_at of the label after it, UTC.';

-- A poller that has lost its memory decides a label again, later.
CREATE FUNCTION keep_first_label() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF (NEW.payout_0, NEW.payout_1) = (OLD.payout_0, OLD.payout_1) THEN
        NEW.known_at := least(OLD.known_at, NEW.known_at);
        NEW.checked_at := greatest(OLD.checked_at, NEW.checked_at);
    ELSE
        INSERT INTO public.resolution_history
               (market_id, condition_id, payout_0, payout_1, sources, resolved_at, disputed, known_at, checked_at, raw,
                replaced_at)
        VALUES (OLD.market_id, OLD.condition_id, OLD.payout_0, OLD.payout_1, OLD.sources, OLD.resolved_at, OLD.disputed,
                OLD.known_at, OLD.checked_at, OLD.raw, NEW.known_at)
            ON CONFLICT DO NOTHING;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION keep_first_label() IS 'Keeps the time at which a label became known, and a label that is replaced by another one.';
CREATE TRIGGER resolution_first BEFORE UPDATE ON resolution FOR EACH ROW EXECUTE FUNCTION keep_first_label();

GRANT SELECT, INSERT, UPDATE ON market, market_rules, market_event, resolution TO tapedeck_writer, tapedeck_replay;
GRANT SELECT, INSERT ON market_history, resolution_history TO tapedeck_writer, tapedeck_replay;

ALTER TABLE subscription ADD COLUMN origin text NOT NULL DEFAULT 'hand' CHECK (origin IN ('hand', 'poller'));
COMMENT ON COLUMN subscription.origin IS 'hand: kept by a person or the settings; poller: follows the tier of its market, and ends by itself.';
