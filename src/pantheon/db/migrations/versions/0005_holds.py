"""Holds: credits reserved for work under way, and the draws of each call inside them."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- Credits of a wallet that are set aside for one piece of work. `reserved` is what its open draws may still take,
    -- `captured` what they took. What is neither can be drawn; what is not captured in the end goes back.
    CREATE TABLE holds (
        id          uuid PRIMARY KEY,
        wallet_id   uuid NOT NULL REFERENCES wallets (id),
        amount      bigint NOT NULL,
        reserved    bigint NOT NULL DEFAULT 0,
        captured    bigint NOT NULL DEFAULT 0,
        state       text NOT NULL DEFAULT 'placed',
        created_at  timestamptz NOT NULL,
        expires_at  timestamptz NOT NULL,
        ended_at    timestamptz,
        CONSTRAINT holds_amount_is_positive CHECK (amount > 0),
        CONSTRAINT holds_reserved_is_never_negative CHECK (reserved >= 0),
        CONSTRAINT holds_captured_is_never_negative CHECK (captured >= 0),
        CONSTRAINT holds_never_give_more_than_they_have CHECK (reserved + captured <= amount),
        CONSTRAINT holds_state_is_known CHECK (state IN ('placed', 'settled', 'released', 'expired')),
        CONSTRAINT holds_ended_have_a_time CHECK ((state = 'placed') = (ended_at IS NULL)),
        CONSTRAINT holds_ended_reserve_nothing CHECK (state = 'placed' OR reserved = 0),
        CONSTRAINT holds_expire_after_they_begin CHECK (expires_at > created_at)
    ) WITH (fillfactor = 80);
    CREATE INDEX holds_wallet_id ON holds (wallet_id);
    CREATE INDEX holds_expires_at ON holds (expires_at) WHERE state = 'placed';

    -- What one call reserves inside a hold, and what of it was used. `overrun` is what the call used beyond that.
    CREATE TABLE draws (
        id          uuid PRIMARY KEY,
        hold_id     uuid NOT NULL REFERENCES holds (id),
        amount      bigint NOT NULL,
        captured    bigint NOT NULL DEFAULT 0,
        overrun     bigint NOT NULL DEFAULT 0,
        state       text NOT NULL DEFAULT 'open',
        created_at  timestamptz NOT NULL,
        ended_at    timestamptz,
        CONSTRAINT draws_amount_is_positive CHECK (amount > 0),
        CONSTRAINT draws_captured_is_within_amount CHECK (captured BETWEEN 0 AND amount),
        CONSTRAINT draws_overrun_is_never_negative CHECK (overrun >= 0),
        CONSTRAINT draws_overrun_only_when_used_up CHECK (overrun = 0 OR captured = amount),
        CONSTRAINT draws_state_is_known CHECK (state IN ('open', 'captured', 'released')),
        CONSTRAINT draws_ended_have_a_time CHECK ((state = 'open') = (ended_at IS NULL)),
        CONSTRAINT draws_take_nothing_unless_captured CHECK (state = 'captured' OR captured = 0)
    ) WITH (fillfactor = 80);
    CREATE INDEX draws_hold_id ON draws (hold_id);

    CREATE FUNCTION hold_ends_once() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.state = 'placed' AND (NEW.id, NEW.wallet_id, NEW.amount) = (OLD.id, OLD.wallet_id, OLD.amount)
           AND NEW.captured >= OLD.captured THEN RETURN NEW;
        END IF;
        RAISE EXCEPTION 'hold %: it ends once, and keeps its amount', OLD.id USING ERRCODE = 'check_violation';
    END $$;
    CREATE TRIGGER holds_end_once BEFORE UPDATE ON holds FOR EACH ROW EXECUTE FUNCTION hold_ends_once();
    CREATE TRIGGER holds_are_never_deleted BEFORE DELETE ON holds FOR EACH ROW EXECUTE FUNCTION refuse_change();

    CREATE FUNCTION draw_ends_once() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.state = 'open' AND (NEW.id, NEW.hold_id, NEW.amount) = (OLD.id, OLD.hold_id, OLD.amount) THEN RETURN NEW;
        END IF;
        RAISE EXCEPTION 'draw %: it ends once, and keeps its amount', OLD.id USING ERRCODE = 'check_violation';
    END $$;
    CREATE TRIGGER draws_end_once BEFORE UPDATE ON draws FOR EACH ROW EXECUTE FUNCTION draw_ends_once();
    CREATE TRIGGER draws_are_never_deleted BEFORE DELETE ON draws FOR EACH ROW EXECUTE FUNCTION refuse_change();

    -- The chart of accounts with the kinds of holds.
    ALTER TABLE transfers DROP CONSTRAINT transfers_kind_may_move_between_these_accounts;
    ALTER TABLE transfers ADD CONSTRAINT transfers_kind_may_move_between_these_accounts CHECK (CASE kind
        WHEN 'top_up_grant'    THEN debit_account = 'issued_paid' AND credit_account = 'available'
        WHEN 'admin_grant'     THEN debit_account IN ('issued_paid', 'issued_promotional') AND credit_account = 'available'
        WHEN 'promotion_grant' THEN debit_account IN ('issued_paid', 'issued_promotional') AND credit_account = 'available'
        WHEN 'adjustment'      THEN debit_account IN ('adjusted', 'available') AND credit_account IN ('adjusted', 'available')
        WHEN 'expiry'          THEN debit_account = 'available' AND credit_account = 'expired'
        WHEN 'reversal'        THEN debit_account = 'available' AND credit_account IN ('issued_paid', 'issued_promotional')
        WHEN 'expiry_reversed' THEN debit_account = 'expired' AND credit_account IN ('issued_paid', 'issued_promotional')
        WHEN 'debt_raised'     THEN debit_account = 'debt' AND credit_account IN ('issued_paid', 'issued_promotional')
        WHEN 'debt_repaid'     THEN debit_account = 'available' AND credit_account = 'debt'
        WHEN 'restore'         THEN debit_account IN ('issued_paid', 'issued_promotional') AND credit_account = 'available'
        WHEN 'hold_placed'     THEN debit_account = 'available' AND credit_account = 'held'
        WHEN 'hold_captured'   THEN debit_account = 'held' AND credit_account = 'consumed'
        WHEN 'hold_released'   THEN debit_account = 'held' AND credit_account = 'available'
        WHEN 'overrun'         THEN debit_account = 'operator_overrun' AND credit_account = 'consumed'
        ELSE false END);
    """)


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
