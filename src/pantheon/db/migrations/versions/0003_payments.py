"""Money in: top-ups, the payments made for them, and the inbox of Stripe's events."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- Loaded from money/top_up.py at every migrate.
    CREATE TABLE top_up_transitions (
        from_state  text NOT NULL,
        to_state    text NOT NULL,
        PRIMARY KEY (from_state, to_state)
    );

    CREATE TABLE top_ups (
        id                  uuid PRIMARY KEY,
        user_id             uuid NOT NULL REFERENCES users (id),
        wallet_id           uuid NOT NULL REFERENCES wallets (id),
        state               text NOT NULL DEFAULT 'creating',
        reason              text,
        amount_minor        bigint NOT NULL,
        currency            text NOT NULL,
        credits             bigint NOT NULL,
        credits_per_major   text NOT NULL,
        livemode            boolean NOT NULL,
        stripe_account      text,
        payment_intent_id   text,
        request_params      jsonb NOT NULL,
        leased_until        timestamptz NOT NULL,
        cancel_reason       text,
        grant_id            uuid REFERENCES grants (id),
        created_at          timestamptz NOT NULL,
        expires_at          timestamptz NOT NULL,
        credited_at         timestamptz,
        CONSTRAINT top_ups_amount_is_positive CHECK (amount_minor > 0),
        CONSTRAINT top_ups_credits_are_positive CHECK (credits > 0),
        CONSTRAINT top_ups_payment_intent_is_claimed_once UNIQUE (payment_intent_id, livemode),
        CONSTRAINT top_ups_grant_is_used_once UNIQUE (grant_id),
        CONSTRAINT top_ups_cancel_reason_is_known CHECK (cancel_reason IN ('user', 'expiry')),
        CONSTRAINT top_ups_credited_have_a_grant
            CHECK ((grant_id IS NOT NULL) = (state IN ('credited', 'partially_reversed', 'reversed')))
    );
    CREATE INDEX top_ups_user_id ON top_ups (user_id, created_at DESC);
    CREATE INDEX top_ups_wallet_id ON top_ups (wallet_id);
    CREATE INDEX top_ups_unfinished ON top_ups (created_at)
        WHERE state IN ('creating', 'awaiting_payment', 'processing', 'cancel_requested');
    CREATE INDEX top_ups_in_review ON top_ups (created_at) WHERE state = 'review';

    CREATE FUNCTION top_up_moves_as_allowed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            IF NEW.state = 'creating' THEN RETURN NEW; END IF;
            RAISE EXCEPTION 'a top-up begins as creating, not as %', NEW.state USING ERRCODE = 'check_violation';
        END IF;
        IF NEW.state = OLD.state
           OR EXISTS (SELECT FROM top_up_transitions WHERE from_state = OLD.state AND to_state = NEW.state)
        THEN RETURN NEW; END IF;
        RAISE EXCEPTION 'top-up %: % cannot become %', OLD.id, OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END $$;
    CREATE TRIGGER top_ups_move_as_allowed BEFORE INSERT OR UPDATE OF state ON top_ups
        FOR EACH ROW EXECUTE FUNCTION top_up_moves_as_allowed();

    CREATE FUNCTION top_up_promise_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'top-up %: what was promised is never changed', OLD.id USING ERRCODE = 'check_violation';
    END $$;
    CREATE TRIGGER top_ups_promise_is_fixed
        BEFORE UPDATE ON top_ups FOR EACH ROW
        WHEN ((NEW.user_id, NEW.wallet_id, NEW.amount_minor, NEW.currency, NEW.credits, NEW.credits_per_major,
               NEW.livemode, NEW.request_params)
              IS DISTINCT FROM
              (OLD.user_id, OLD.wallet_id, OLD.amount_minor, OLD.currency, OLD.credits, OLD.credits_per_major,
               OLD.livemode, OLD.request_params)
              OR OLD.payment_intent_id <> NEW.payment_intent_id
              OR (OLD.payment_intent_id IS NOT NULL AND NEW.payment_intent_id IS NULL))
        EXECUTE FUNCTION top_up_promise_is_fixed();
    CREATE TRIGGER top_ups_are_never_deleted BEFORE DELETE ON top_ups
        FOR EACH ROW EXECUTE FUNCTION refuse_change();

    -- Every message of Stripe, as it came. The row is the truth; a job only wakes somebody to look at it.
    CREATE TABLE inbox_events (
        id               uuid PRIMARY KEY,
        source           text NOT NULL DEFAULT 'webhook',
        event_id         text NOT NULL,
        type             text NOT NULL,
        livemode         boolean NOT NULL,
        account          text,
        api_version      text,
        body             bytea NOT NULL,
        body_hash        bytea NOT NULL,
        verified         boolean NOT NULL,
        secret_index     smallint,
        state            text NOT NULL DEFAULT 'received',
        outcome          text,
        attempts         integer NOT NULL DEFAULT 0,
        last_error       text,
        received_count   integer NOT NULL DEFAULT 1,
        received_at      timestamptz NOT NULL,
        next_attempt_at  timestamptz NOT NULL,
        handled_at       timestamptz,
        CONSTRAINT inbox_events_event_is_stored_once UNIQUE (event_id, livemode),
        CONSTRAINT inbox_events_source_is_known CHECK (source IN ('webhook', 'poll')),
        CONSTRAINT inbox_events_state_is_known CHECK (state IN ('received', 'done', 'ignored', 'parked', 'dead')),
        CONSTRAINT inbox_events_handled_have_an_outcome
            CHECK ((state = 'received') = (handled_at IS NULL) AND (state = 'received' OR outcome IS NOT NULL)),
        CONSTRAINT inbox_events_verified_name_the_secret CHECK (verified = (secret_index IS NOT NULL) OR source = 'poll')
    );
    CREATE INDEX inbox_events_unhandled ON inbox_events (next_attempt_at) WHERE state = 'received';
    CREATE INDEX inbox_events_received_at ON inbox_events (received_at DESC);
    CREATE INDEX inbox_events_unverified ON inbox_events (id) WHERE NOT verified;

    -- What is known of each payment. Facts only grow: the greatest amount received, the furthest status.
    CREATE TABLE payments (
        id                 uuid PRIMARY KEY,
        payment_intent_id  text NOT NULL,
        livemode           boolean NOT NULL,
        account            text,
        top_up_id          uuid NOT NULL REFERENCES top_ups (id),
        status             text NOT NULL,
        amount_minor       bigint NOT NULL,
        received_minor     bigint NOT NULL,
        currency           text NOT NULL,
        failures           integer NOT NULL DEFAULT 0,
        failure_category   text,
        review_reason      text,
        first_seen_at      timestamptz NOT NULL,
        last_seen_at       timestamptz NOT NULL,
        CONSTRAINT payments_payment_intent_is_known_once UNIQUE (payment_intent_id, livemode),
        CONSTRAINT payments_received_is_never_negative CHECK (received_minor >= 0)
    );
    CREATE INDEX payments_top_up_id ON payments (top_up_id);
    CREATE INDEX payments_in_review ON payments (first_seen_at) WHERE review_reason IS NOT NULL;

    -- Why a top-up is in its state: one row for each change.
    CREATE TABLE top_up_history (
        id              uuid PRIMARY KEY,
        top_up_id       uuid NOT NULL REFERENCES top_ups (id),
        from_state      text,
        to_state        text NOT NULL,
        reason          text,
        inbox_event_id  uuid REFERENCES inbox_events (id),
        at              timestamptz NOT NULL
    );
    CREATE INDEX top_up_history_top_up_id ON top_up_history (top_up_id, at);
    CREATE INDEX top_up_history_inbox_event_id ON top_up_history (inbox_event_id);
    CREATE TRIGGER top_up_history_is_append_only BEFORE UPDATE OR DELETE ON top_up_history
        FOR EACH ROW EXECUTE FUNCTION refuse_change();
    CREATE TRIGGER top_up_history_is_never_truncated BEFORE TRUNCATE ON top_up_history
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
    """)


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
