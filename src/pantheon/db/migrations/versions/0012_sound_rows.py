"""The same rules on what is booked, one function for each table; and grants whose row can change in place.

PostgreSQL reads every CHECK of a table from its stored form anew in each statement that writes to it, which was a third
of the time of a posting. A function is read once in a connection, so the rules of a table are now one CHECK with one
function. It refuses with the name of the rule that was broken, as that rule's own constraint did.

An index on `remaining` (also in its WHERE) made every change of a grant a change of all its indexes. `is_open` changes
only when a grant is used up or refilled.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_MOVED = {
    "transfers": (
        "accounts_differ amount_is_positive available_is_never_negative held_is_never_negative debt_is_never_negative"
        " debit_account_is_known credit_account_is_known kind_may_move_between_these_accounts reference_id_is_plain"
        " revision_is_never_negative"
    ),
    "grants": (
        "amount_is_positive remaining_is_never_negative held_is_never_negative reversed_is_within_amount"
        " cost_is_never_negative source_is_known category_is_known expire_after_they_begin"
    ),
    "wallets": "available_is_never_negative held_is_never_negative debt_is_never_negative state_is_known",
    "holds": (
        "amount_is_positive reserved_is_never_negative captured_is_never_negative never_give_more_than_they_have"
        " state_is_known ended_have_a_time ended_reserve_nothing expire_after_they_begin"
    ),
    "draws": (
        "amount_is_positive captured_is_within_amount overrun_is_never_negative overrun_only_when_used_up"
        " state_is_known ended_have_a_time take_nothing_unless_captured"
    ),
}


def upgrade() -> None:
    op.execute(r"""
    -- What a CHECK answers to a row that breaks a rule. A restore has no search_path, so its callers name the schema.
    CREATE FUNCTION ledger_refuse_row(p_table text, p_rule text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        RAISE EXCEPTION 'new row for relation "%" violates check constraint "%"', p_table, p_rule
            USING ERRCODE = 'check_violation', TABLE = p_table, CONSTRAINT = p_rule;
    END $$;

    -- It needs no search_path of its own, and setting one for each call took longer than the rest of it.
    ALTER FUNCTION ledger_may_move(text, text, text) RESET search_path;

    -- As in a CHECK, a rule is broken when it is false, and not when it is unknown.
    CREATE FUNCTION ledger_transfer_is_sound(t transfers) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE AS $$
    DECLARE
        accounts CONSTANT text[] := '{available,held,debt,issued_paid,issued_promotional,adjusted,consumed,expired,operator_overrun,written_off}';
        broken text := CASE
            WHEN NOT t.debit_account <> t.credit_account THEN 'accounts_differ'
            WHEN NOT t.amount > 0 THEN 'amount_is_positive'
            WHEN NOT t.available_after >= 0 THEN 'available_is_never_negative'
            WHEN NOT t.held_after >= 0 THEN 'held_is_never_negative'
            WHEN NOT t.debt_after >= 0 THEN 'debt_is_never_negative'
            WHEN NOT t.debit_account = ANY (accounts) THEN 'debit_account_is_known'
            WHEN NOT t.credit_account = ANY (accounts) THEN 'credit_account_is_known'
            WHEN NOT public.ledger_may_move(t.kind, t.debit_account, t.credit_account)
                THEN 'kind_may_move_between_these_accounts'
            -- The reference goes into the hash between separators; it must not contain one. A trim is ten times
            -- faster here than a regular expression, and fastest with the characters of a UUID first.
            WHEN NOT (length(t.reference_id) BETWEEN 1 AND 255 AND ltrim(t.reference_id,
                      '0123456789abcdef-ghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.:') = '') THEN 'reference_id_is_plain'
            WHEN NOT t.revision >= 0 THEN 'revision_is_never_negative' END;
    BEGIN
        RETURN broken IS NULL OR public.ledger_refuse_row('transfers', 'transfers_' || broken);
    END $$;

    CREATE FUNCTION ledger_grant_is_sound(g grants) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE AS $$
    DECLARE
        broken text := CASE
            WHEN NOT g.amount > 0 THEN 'amount_is_positive'
            WHEN NOT g.remaining >= 0 THEN 'remaining_is_never_negative'
            WHEN NOT g.held >= 0 THEN 'held_is_never_negative'
            WHEN NOT g.reversed BETWEEN 0 AND g.amount THEN 'reversed_is_within_amount'
            WHEN NOT g.cost_minor >= 0 THEN 'cost_is_never_negative'
            WHEN NOT g.source IN ('top_up', 'admin', 'promotion', 'plan', 'compensation', 'adjustment')
                THEN 'source_is_known'
            WHEN NOT g.category IN ('paid', 'promotional') THEN 'category_is_known'
            WHEN NOT g.expires_at > g.effective_at THEN 'expire_after_they_begin' END;
    BEGIN
        RETURN broken IS NULL OR public.ledger_refuse_row('grants', 'grants_' || broken);
    END $$;

    CREATE FUNCTION ledger_wallet_is_sound(w wallets) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE AS $$
    DECLARE
        broken text := CASE
            WHEN NOT w.available >= 0 THEN 'available_is_never_negative'
            WHEN NOT w.held >= 0 THEN 'held_is_never_negative'
            WHEN NOT w.debt >= 0 THEN 'debt_is_never_negative'
            WHEN NOT w.state IN ('active', 'frozen', 'closed') THEN 'state_is_known' END;
    BEGIN
        RETURN broken IS NULL OR public.ledger_refuse_row('wallets', 'wallets_' || broken);
    END $$;

    CREATE FUNCTION ledger_hold_is_sound(h holds) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE AS $$
    DECLARE
        broken text := CASE
            WHEN NOT h.amount > 0 THEN 'amount_is_positive'
            WHEN NOT h.reserved >= 0 THEN 'reserved_is_never_negative'
            WHEN NOT h.captured >= 0 THEN 'captured_is_never_negative'
            WHEN NOT h.reserved + h.captured <= h.amount THEN 'never_give_more_than_they_have'
            WHEN NOT h.state IN ('placed', 'settled', 'released', 'expired') THEN 'state_is_known'
            WHEN NOT (h.state = 'placed') = (h.ended_at IS NULL) THEN 'ended_have_a_time'
            WHEN NOT (h.state = 'placed' OR h.reserved = 0) THEN 'ended_reserve_nothing'
            WHEN NOT h.expires_at > h.created_at THEN 'expire_after_they_begin' END;
    BEGIN
        RETURN broken IS NULL OR public.ledger_refuse_row('holds', 'holds_' || broken);
    END $$;

    CREATE FUNCTION ledger_draw_is_sound(d draws) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE AS $$
    DECLARE
        broken text := CASE
            WHEN NOT d.amount > 0 THEN 'amount_is_positive'
            WHEN NOT d.captured BETWEEN 0 AND d.amount THEN 'captured_is_within_amount'
            WHEN NOT d.overrun >= 0 THEN 'overrun_is_never_negative'
            WHEN NOT (d.overrun = 0 OR d.captured = d.amount) THEN 'overrun_only_when_used_up'
            WHEN NOT d.state IN ('open', 'captured', 'released') THEN 'state_is_known'
            WHEN NOT (d.state = 'open') = (d.ended_at IS NULL) THEN 'ended_have_a_time'
            WHEN NOT (d.state = 'captured' OR d.captured = 0) THEN 'take_nothing_unless_captured' END;
    BEGIN
        RETURN broken IS NULL OR public.ledger_refuse_row('draws', 'draws_' || broken);
    END $$;

    ALTER TABLE transfers ADD CONSTRAINT transfers_are_sound CHECK (ledger_transfer_is_sound(transfers));
    ALTER TABLE grants ADD CONSTRAINT grants_are_sound CHECK (ledger_grant_is_sound(grants));
    ALTER TABLE wallets ADD CONSTRAINT wallets_are_sound CHECK (ledger_wallet_is_sound(wallets));
    ALTER TABLE holds ADD CONSTRAINT holds_are_sound CHECK (ledger_hold_is_sound(holds));
    ALTER TABLE draws ADD CONSTRAINT draws_are_sound CHECK (ledger_draw_is_sound(draws));
    """)
    for table, rules in _MOVED.items():
        for rule in rules.split():
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{rule}")
    op.execute(r"""
    -- A balance can only be what the wallet's last transfer left behind.
    CREATE OR REPLACE FUNCTION wallet_follows_its_chain() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        t transfers;
    BEGIN
        SELECT * INTO t FROM transfers WHERE wallet_id = NEW.id ORDER BY wallet_seq DESC LIMIT 1;
        IF (NEW.seq, NEW.head_hash, NEW.available, NEW.held, NEW.debt) IS NOT DISTINCT FROM
           (coalesce(t.wallet_seq, 0), coalesce(t.hash, '\x'), coalesce(t.available_after, 0), coalesce(t.held_after, 0),
            coalesce(t.debt_after, 0)) THEN RETURN NEW;
        END IF;
        RAISE EXCEPTION 'wallet %: a balance changes only with a transfer', NEW.id USING ERRCODE = 'check_violation';
    END $$;

    DROP INDEX grants_burn_down;
    -- Space in each page for the row's next version, and room for it when the column makes the table anew.
    ALTER TABLE grants SET (fillfactor = 50);
    ALTER TABLE grants ADD COLUMN is_open boolean NOT NULL GENERATED ALWAYS AS (remaining > 0) STORED;
    CREATE INDEX grants_burn_down ON grants (wallet_id, priority, expires_at, (category = 'paid'), created_at, id) WHERE is_open;

    -- Nothing ever looked for an event's transfers by it.
    DROP INDEX transfers_event_id;
    """)


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
