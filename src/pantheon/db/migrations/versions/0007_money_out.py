"""Money out: rate cards, model calls, receipts, limits of spending, and the switch of enforcement."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- One published version of all prices. Nothing published is edited: a later version only ends it.
    CREATE TABLE rate_cards (
        version          integer PRIMARY KEY,
        effective_at     timestamptz NOT NULL,
        effective_until  timestamptz,
        published_at     timestamptz NOT NULL DEFAULT now(),
        published_by     uuid,
        note             text NOT NULL,
        CONSTRAINT rate_cards_end_after_they_begin CHECK (effective_until > effective_at),
        CONSTRAINT rate_cards_never_overlap EXCLUDE USING gist (tstzrange(effective_at, effective_until) WITH &&)
    );

    -- The prices of one model. A price is nanocredits for a million units, before the multiplier (in millionths); a cost is
    -- nano-dollars for a million units, NULL where it is not known.
    CREATE TABLE rates (
        version             integer NOT NULL REFERENCES rate_cards (version),
        model_alias         text NOT NULL,
        provider            text NOT NULL,
        provider_model      text NOT NULL,
        context_tokens      integer NOT NULL,
        max_output_tokens   integer NOT NULL,
        multiplier          bigint NOT NULL,
        input_price         bigint NOT NULL,
        cached_input_price  bigint NOT NULL,
        cache_write_price   bigint NOT NULL,
        output_price        bigint NOT NULL,
        reasoning_price     bigint NOT NULL,
        tool_call_price     bigint NOT NULL,
        input_cost          bigint,
        cached_input_cost   bigint,
        cache_write_cost    bigint,
        output_cost         bigint,
        reasoning_cost      bigint,
        tool_call_cost      bigint,
        PRIMARY KEY (version, model_alias),
        CONSTRAINT rates_model_alias_is_plain CHECK (model_alias ~ '^[A-Za-z0-9._:/-]{1,64}$'),
        CONSTRAINT rates_multiplier_is_in_range CHECK (multiplier BETWEEN 1 AND 100000000),
        CONSTRAINT rates_prices_are_never_negative CHECK (
            least(input_price, cached_input_price, cache_write_price, output_price, reasoning_price, tool_call_price) >= 0),
        CONSTRAINT rates_prices_are_within_reason CHECK (
            greatest(input_price, cached_input_price, cache_write_price, output_price, reasoning_price, tool_call_price)
            <= 1000000000000000000),
        CONSTRAINT rates_costs_are_never_negative CHECK (
            least(input_cost, cached_input_cost, cache_write_cost, output_cost, reasoning_cost, tool_call_cost) >= 0),
        CONSTRAINT rates_costs_are_known_together CHECK (
            num_nulls(input_cost, cached_input_cost, cache_write_cost, output_cost, reasoning_cost, tool_call_cost) IN (0, 6)),
        CONSTRAINT rates_tokens_are_positive CHECK (context_tokens > 0 AND max_output_tokens > 0)
    );

    -- The card that installations begin with. Credits for ten thousand tokens: 0.35 input, 0.10 cached input, 1.00 output.
    INSERT INTO rate_cards (version, effective_at, note) VALUES (1, now(), 'The prices that Pantheon begins with');
    INSERT INTO rates
        (version, model_alias, provider, provider_model, context_tokens, max_output_tokens, multiplier,
         input_price, cached_input_price, cache_write_price, output_price, reasoning_price, tool_call_price)
    SELECT 1, alias, provider, model, context, output, multiplier,
           35000000000, 10000000000, 35000000000, 100000000000, 100000000000, 0
    FROM (VALUES
        ('deepseek',      'openrouter', 'deepseek/deepseek-chat',      131072, 8192,  500000),
        ('gemini-flash',  'openrouter', 'google/gemini-2.5-flash',     1048576, 8192, 800000),
        ('gemini-pro',    'openrouter', 'google/gemini-2.5-pro',       1048576, 8192, 1200000),
        ('gpt-4o-mini',   'openrouter', 'openai/gpt-4o-mini',          128000, 8192,  1000000),
        ('gpt-4o',        'openrouter', 'openai/gpt-4o',               128000, 8192,  2000000),
        ('claude-haiku',  'openrouter', 'anthropic/claude-haiku-4.5',  200000, 8192,  800000),
        ('claude-sonnet', 'openrouter', 'anthropic/claude-sonnet-4.5', 200000, 8192,  1500000),
        ('demo',          'demo',       'demo',                        16384, 2048,   100000)
    ) AS first (alias, provider, model, context, output, multiplier);

    CREATE FUNCTION rate_card_is_only_ended() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (NEW.version, NEW.effective_at, NEW.published_at, NEW.note) = (OLD.version, OLD.effective_at, OLD.published_at, OLD.note)
           AND NEW.published_by IS NOT DISTINCT FROM OLD.published_by
           AND NEW.effective_until >= now() AND NEW.effective_until <= coalesce(OLD.effective_until, 'infinity') THEN RETURN NEW;
        END IF;
        RAISE EXCEPTION 'rate card %: a published card can only be ended, and not in the past', OLD.version
            USING ERRCODE = 'check_violation';
    END $$;
    CREATE TRIGGER rate_cards_are_only_ended BEFORE UPDATE ON rate_cards
        FOR EACH ROW EXECUTE FUNCTION rate_card_is_only_ended();
    CREATE TRIGGER rate_cards_are_never_deleted BEFORE DELETE ON rate_cards FOR EACH ROW EXECUTE FUNCTION refuse_change();

    CREATE FUNCTION rate_card_begins_from_now() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.published_at := now();
        IF NEW.effective_at >= now() THEN RETURN NEW; END IF;
        RAISE EXCEPTION 'rate card %: prices never change for the past', NEW.version USING ERRCODE = 'check_violation';
    END $$;
    CREATE TRIGGER rate_cards_begin_from_now BEFORE INSERT ON rate_cards
        FOR EACH ROW EXECUTE FUNCTION rate_card_begins_from_now();

    -- The rates of a card are published with it: now() is the same within one transaction only.
    CREATE FUNCTION rate_belongs_to_a_new_card() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT published_at FROM rate_cards WHERE version = NEW.version) = now() THEN RETURN NEW; END IF;
        RAISE EXCEPTION 'rate card % is published: publish another version', NEW.version USING ERRCODE = 'check_violation';
    END $$;
    CREATE TRIGGER rates_belong_to_a_new_card BEFORE INSERT ON rates
        FOR EACH ROW EXECUTE FUNCTION rate_belongs_to_a_new_card();
    CREATE TRIGGER rates_are_append_only BEFORE UPDATE OR DELETE ON rates FOR EACH ROW EXECUTE FUNCTION refuse_change();

    -- Whether spending needs credits. Without a row the setting decides.
    CREATE TABLE enforcement_override (
        only_row  boolean PRIMARY KEY DEFAULT true,
        mode      text NOT NULL,
        set_at    timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT enforcement_override_only_row_is_true CHECK (only_row),
        CONSTRAINT enforcement_override_mode_is_known CHECK (mode IN ('enforce', 'warn', 'off'))
    );

    -- A call of a model: who made it, for what, within which bounds, and how far it got. Its id is also that of its draw
    -- and of its receipt. What it cost is in the receipt alone.
    CREATE TABLE calls (
        id                 uuid PRIMARY KEY,
        user_id            uuid NOT NULL REFERENCES users (id),
        wallet_id          uuid NOT NULL REFERENCES wallets (id),
        hold_id            uuid NOT NULL,
        api_key_id         uuid,
        turn_id            uuid,
        agent_id           uuid,
        room_id            uuid,
        model_alias        text NOT NULL,
        rate_card_version  integer NOT NULL,
        enforcement        text NOT NULL,
        input_counted      integer NOT NULL,
        max_output         integer NOT NULL,
        delivered_output   integer NOT NULL DEFAULT 0,
        state              text NOT NULL DEFAULT 'open',
        outcome            text,
        started_at         timestamptz NOT NULL,
        expires_at         timestamptz NOT NULL,
        first_token_at     timestamptz,
        ended_at           timestamptz,
        FOREIGN KEY (rate_card_version, model_alias) REFERENCES rates (version, model_alias),
        CONSTRAINT calls_state_is_known CHECK (state IN ('open', 'settled', 'released', 'refused')),
        CONSTRAINT calls_ended_have_a_time CHECK ((state = 'open') = (ended_at IS NULL)),
        CONSTRAINT calls_enforcement_is_known CHECK (enforcement IN ('enforce', 'warn', 'off')),
        CONSTRAINT calls_counts_are_never_negative CHECK (
            input_counted >= 0 AND max_output >= 0 AND delivered_output >= 0)
    );
    CREATE INDEX calls_user_id ON calls (user_id, started_at);
    CREATE INDEX calls_wallet_id ON calls (wallet_id);
    CREATE INDEX calls_rate ON calls (rate_card_version, model_alias);
    CREATE INDEX calls_open ON calls (expires_at) WHERE state = 'open';

    -- What a call used and cost, in lines. Written by the ledger with the capture, once.
    CREATE TABLE receipts (
        id           uuid PRIMARY KEY REFERENCES draws (id),
        wallet_id    uuid NOT NULL REFERENCES wallets (id),
        transfer_id  uuid REFERENCES transfers (id),
        charged      bigint NOT NULL,
        overrun      bigint NOT NULL,
        body         jsonb NOT NULL,
        created_at   timestamptz NOT NULL,
        CONSTRAINT receipts_are_never_negative CHECK (charged >= 0 AND overrun >= 0)
    );
    CREATE INDEX receipts_transfer_id ON receipts (transfer_id) WHERE transfer_id IS NOT NULL;
    CREATE INDEX receipts_wallet_id ON receipts (wallet_id, created_at);
    CREATE TRIGGER receipts_are_append_only BEFORE UPDATE OR DELETE ON receipts
        FOR EACH ROW EXECUTE FUNCTION refuse_change();
    CREATE TRIGGER receipts_are_never_truncated BEFORE TRUNCATE ON receipts
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

    -- The most that a wallet may spend within a period: altogether, through one API key, by one agent, in one room, or on
    -- one model.
    CREATE TABLE spend_limits (
        id          uuid PRIMARY KEY,
        wallet_id   uuid NOT NULL REFERENCES wallets (id),
        scope       text NOT NULL,
        scope_id    text NOT NULL,
        period      text NOT NULL,
        amount      bigint NOT NULL,
        created_at  timestamptz NOT NULL,
        ended_at    timestamptz,
        CONSTRAINT spend_limits_scope_is_known CHECK (scope IN ('wallet', 'api_key', 'agent', 'room', 'model')),
        CONSTRAINT spend_limits_period_is_known CHECK (period IN ('day', 'month', 'total')),
        CONSTRAINT spend_limits_amount_is_never_negative CHECK (amount >= 0)
    );
    CREATE UNIQUE INDEX spend_limits_are_one_for_each_scope_and_period
        ON spend_limits (wallet_id, scope, scope_id, period) WHERE ended_at IS NULL;

    CREATE INDEX spend_limits_wallet_id ON spend_limits (wallet_id);

    -- What of a limit is used in one period: reserved by draws that are open, and spent.
    CREATE TABLE spend_counters (
        limit_id     uuid NOT NULL REFERENCES spend_limits (id),
        period_from  date NOT NULL,
        reserved     bigint NOT NULL DEFAULT 0,
        spent        bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (limit_id, period_from),
        CONSTRAINT spend_counters_are_never_negative CHECK (reserved >= 0 AND spent >= 0)
    );

    -- Which counters a draw has reserved in.
    CREATE TABLE draw_limits (
        draw_id      uuid NOT NULL REFERENCES draws (id),
        limit_id     uuid NOT NULL,
        period_from  date NOT NULL,
        PRIMARY KEY (draw_id, limit_id),
        FOREIGN KEY (limit_id, period_from) REFERENCES spend_counters (limit_id, period_from)
    );
    CREATE INDEX draw_limits_counter ON draw_limits (limit_id, period_from);
    """)


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
