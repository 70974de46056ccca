"""The books: wallets, transfers with their hash chain, grants and their moves."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- All amounts of credits are nanocredits (10^-9 credits).

    CREATE TABLE wallets (
        id              uuid PRIMARY KEY,
        user_id         uuid NOT NULL REFERENCES users (id),
        available       bigint NOT NULL DEFAULT 0,
        held            bigint NOT NULL DEFAULT 0,
        debt            bigint NOT NULL DEFAULT 0,
        seq             bigint NOT NULL DEFAULT 0,
        head_hash       bytea NOT NULL DEFAULT '\\x',
        next_expiry_at  timestamptz,
        state           text NOT NULL DEFAULT 'active',
        created_at      timestamptz NOT NULL,
        CONSTRAINT wallets_user_has_one UNIQUE (user_id),
        CONSTRAINT wallets_available_is_never_negative CHECK (available >= 0),
        CONSTRAINT wallets_held_is_never_negative CHECK (held >= 0),
        CONSTRAINT wallets_debt_is_never_negative CHECK (debt >= 0),
        CONSTRAINT wallets_state_is_known CHECK (state IN ('active', 'frozen', 'closed'))
    ) WITH (fillfactor = 50);
    CREATE INDEX wallets_next_expiry_at ON wallets (next_expiry_at) WHERE next_expiry_at IS NOT NULL;

    -- One row moves a positive amount from one account to another, so no single row can be unbalanced.
    -- `hash` = SHA-256(hash of the wallet's previous transfer, this row): see ledger_hash().
    -- `reverses` is the transfer that brought the credits which this one takes back, or gives back again.
    CREATE TABLE transfers (
        id               uuid PRIMARY KEY,
        event_id         uuid NOT NULL,
        wallet_id        uuid NOT NULL REFERENCES wallets (id),
        wallet_seq       bigint NOT NULL,
        debit_account    text NOT NULL,
        credit_account   text NOT NULL,
        amount           bigint NOT NULL,
        kind             text NOT NULL,
        reference_id     text NOT NULL,
        revision         integer NOT NULL,
        reverses         uuid REFERENCES transfers (id),
        effective_at     timestamptz NOT NULL,
        recorded_at      timestamptz NOT NULL,
        actor            uuid,
        available_after  bigint NOT NULL,
        held_after       bigint NOT NULL,
        debt_after       bigint NOT NULL,
        hash             bytea NOT NULL,
        CONSTRAINT transfers_business_key_is_used_once UNIQUE (kind, reference_id, revision),
        CONSTRAINT transfers_wallet_seq_has_no_fork UNIQUE (wallet_id, wallet_seq),
        CONSTRAINT transfers_amount_is_positive CHECK (amount > 0),
        CONSTRAINT transfers_accounts_differ CHECK (debit_account <> credit_account),
        CONSTRAINT transfers_debit_account_is_known CHECK (debit_account IN (
            'available', 'held', 'debt', 'issued_paid', 'issued_promotional', 'adjusted', 'consumed', 'expired',
            'operator_overrun', 'written_off')),
        CONSTRAINT transfers_credit_account_is_known CHECK (credit_account IN (
            'available', 'held', 'debt', 'issued_paid', 'issued_promotional', 'adjusted', 'consumed', 'expired',
            'operator_overrun', 'written_off')),
        -- The reference goes into the hash between separators; it must not contain one.
        CONSTRAINT transfers_reference_id_is_plain CHECK (reference_id ~ '^[A-Za-z0-9_.:-]{1,255}$'),
        CONSTRAINT transfers_revision_is_never_negative CHECK (revision >= 0),
        CONSTRAINT transfers_available_is_never_negative CHECK (available_after >= 0),
        CONSTRAINT transfers_held_is_never_negative CHECK (held_after >= 0),
        CONSTRAINT transfers_debt_is_never_negative CHECK (debt_after >= 0)
    );
    CREATE INDEX transfers_event_id ON transfers (event_id);
    CREATE INDEX transfers_reverses ON transfers (reverses) WHERE reverses IS NOT NULL;

    -- Which kinds exist and between which accounts each may move credits: the chart of accounts in money/chart.py.
    -- A constraint and not a table with a foreign key: its few rows would be locked by every transfer.
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
        ELSE false END);

    -- What people wrote about an event. Kept apart from the chain, so that it can be redacted.
    CREATE TABLE transfer_notes (
        event_id     uuid PRIMARY KEY,
        note         text NOT NULL,
        redacted_at  timestamptz,
        CONSTRAINT transfer_notes_are_short CHECK (length(note) BETWEEN 1 AND 256)
    );

    -- Credits with an origin. `remaining` is the part of it that is available, `held` the part that is reserved,
    -- `reversed` the part that was taken back; `revision` counts the changes of that. `cost_minor` is what was paid.
    CREATE TABLE grants (
        id            uuid PRIMARY KEY,
        wallet_id     uuid NOT NULL REFERENCES wallets (id),
        source        text NOT NULL,
        category      text NOT NULL,
        amount        bigint NOT NULL,
        remaining     bigint NOT NULL,
        held          bigint NOT NULL DEFAULT 0,
        reversed      bigint NOT NULL DEFAULT 0,
        revision      integer NOT NULL DEFAULT 0,
        cost_minor    bigint NOT NULL DEFAULT 0,
        priority      smallint NOT NULL DEFAULT 100,
        reference_id  text NOT NULL,
        effective_at  timestamptz NOT NULL,
        expires_at    timestamptz,
        voided_at     timestamptz,
        created_at    timestamptz NOT NULL,
        CONSTRAINT grants_source_is_known CHECK (source IN ('top_up', 'admin', 'promotion', 'plan', 'compensation', 'adjustment')),
        CONSTRAINT grants_category_is_known CHECK (category IN ('paid', 'promotional')),
        CONSTRAINT grants_amount_is_positive CHECK (amount > 0),
        CONSTRAINT grants_remaining_is_never_negative CHECK (remaining >= 0),
        CONSTRAINT grants_held_is_never_negative CHECK (held >= 0),
        CONSTRAINT grants_reversed_is_within_amount CHECK (reversed BETWEEN 0 AND amount),
        CONSTRAINT grants_cost_is_never_negative CHECK (cost_minor >= 0),
        CONSTRAINT grants_expire_after_they_begin CHECK (expires_at > effective_at)
    );
    CREATE INDEX grants_wallet_id ON grants (wallet_id);
    -- The burn-down order: priority, soonest expiry, promotional before paid, oldest.
    CREATE INDEX grants_burn_down ON grants (wallet_id, priority, expires_at, (category = 'paid'), created_at, id)
        WHERE remaining > 0;

    -- What each transfer did to each grant.
    CREATE TABLE grant_moves (
        transfer_id  uuid NOT NULL REFERENCES transfers (id),
        grant_id     uuid NOT NULL REFERENCES grants (id),
        available    bigint NOT NULL,
        held         bigint NOT NULL,
        PRIMARY KEY (transfer_id, grant_id),
        CONSTRAINT grant_moves_move_something CHECK (available <> 0 OR held <> 0)
    );
    CREATE INDEX grant_moves_grant_id ON grant_moves (grant_id);

    CREATE TRIGGER transfers_are_append_only BEFORE UPDATE OR DELETE ON transfers
        FOR EACH ROW EXECUTE FUNCTION refuse_change();
    CREATE TRIGGER transfers_are_never_truncated BEFORE TRUNCATE ON transfers
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
    CREATE TRIGGER grant_moves_are_append_only BEFORE UPDATE OR DELETE ON grant_moves
        FOR EACH ROW EXECUTE FUNCTION refuse_change();
    CREATE TRIGGER grant_moves_are_never_truncated BEFORE TRUNCATE ON grant_moves
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
    CREATE TRIGGER wallets_are_never_deleted BEFORE DELETE ON wallets
        FOR EACH ROW EXECUTE FUNCTION refuse_change();
    CREATE TRIGGER grants_are_never_deleted BEFORE DELETE ON grants
        FOR EACH ROW EXECUTE FUNCTION refuse_change();

    -- A balance can only be what the wallet's last transfer left behind.
    CREATE FUNCTION wallet_follows_its_chain() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM transfers n WHERE n.wallet_id = NEW.id AND n.wallet_seq = NEW.seq + 1) AND (
            (NEW.seq = 0 AND NEW.available = 0 AND NEW.held = 0 AND NEW.debt = 0 AND NEW.head_hash = '\\x')
            OR EXISTS (
                SELECT FROM transfers t
                WHERE t.wallet_id = NEW.id AND t.wallet_seq = NEW.seq AND t.hash = NEW.head_hash
                  AND (t.available_after, t.held_after, t.debt_after) = (NEW.available, NEW.held, NEW.debt)
            )
        ) THEN RETURN NEW;
        END IF;
        RAISE EXCEPTION 'wallet %: a balance changes only with a transfer', NEW.id USING ERRCODE = 'check_violation';
    END $$;
    CREATE TRIGGER wallets_balance_follows_the_chain
        BEFORE INSERT OR UPDATE OF available, held, debt, seq, head_hash ON wallets
        FOR EACH ROW EXECUTE FUNCTION wallet_follows_its_chain();

    -- What every ledger function answers. `code` is 'ok' or the reason why nothing was changed.
    CREATE TYPE ledger_result AS (
        code         text,
        wallet_id    uuid,
        event_id     uuid,
        transfer_id  uuid,
        grant_id     uuid,
        amount       bigint,
        available    bigint,
        held         bigint,
        debt         bigint
    );
    """)


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
