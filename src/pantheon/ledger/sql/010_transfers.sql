-- The parts that every operation is made of. The application may call none of these itself, except ledger_hash to verify.
--
-- Every operation locks its wallet's row first and reads all else after that. It answers a code: `ok`, or why it changed
-- nothing. An exception is a bug or a time-out, never a refusal: it undoes the whole transaction, and with it all items
-- of a batch. So a batch either answers for each item, or nothing of it happened and its items can be tried one by one.
--
-- Only functions that the application may call are SECURITY DEFINER and set the search_path, for all that they call: these
-- here would pay for setting it at each call, and those in SQL could not be taken into the expression that calls them.

-- The one clock of the books.
CREATE OR REPLACE FUNCTION ledger_now() RETURNS timestamptz
LANGUAGE sql VOLATILE AS $$ SELECT clock_timestamp() $$;

-- A UUIDv7: the milliseconds over the first 48 bits of a random UUID, then version 7 (0111) instead of 4 (0100).
CREATE OR REPLACE FUNCTION ledger_uuid7() RETURNS uuid
LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(
        uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6
    ), 52, 1), 53, 1), 'hex')::uuid
$$;

-- SHA-256 over the wallet's head and the row, its fields in this order, joined by |. None of them can contain a |.
-- Times are microseconds since 1970, so that the hash does not depend on a time zone or a date style.
-- STABLE (as concat_ws is) and without a search_path, so that a query over many transfers takes it in as an expression, and
-- PARALLEL SAFE, so that all of such a query may use several processors.
CREATE OR REPLACE FUNCTION ledger_hash(p_head bytea, t transfers) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(p_head || convert_to(concat_ws('|',
        t.id, t.event_id, t.wallet_id, t.wallet_seq, t.debit_account, t.credit_account, t.amount,
        t.kind, t.reference_id, t.revision, coalesce(t.reverses::text, '-'),
        (extract(epoch FROM t.effective_at) * 1000000)::bigint, (extract(epoch FROM t.recorded_at) * 1000000)::bigint,
        coalesce(t.actor::text, '-'), t.available_after, t.held_after, t.debt_after), 'UTF8'))
$$;

-- Locks the wallets of a batch in the order of their ids, so that two batches never wait for each other in a circle.
-- Not FOR UPDATE: that would also wait for every transaction that wrote a row about a wallet, such as a top-up.
CREATE OR REPLACE FUNCTION ledger_lock_wallets(p_ids uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM wallets WHERE id = ANY (p_ids) ORDER BY id FOR NO KEY UPDATE;
END $$;

-- Whether a posting may move this much: at most 10^18 nanocredits, a thousand million credits. A wallet that holds or
-- owes eight times that takes nothing more, so that no sum can leave bigint.
CREATE OR REPLACE FUNCTION ledger_is_postable(w wallets, p_amount numeric) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(p_amount BETWEEN 1 AND 1000000000000000000, false)
       AND greatest(w.available, w.held, w.debt) <= 8000000000000000000
$$;

-- Books one transfer on a locked wallet and returns the wallet as it is afterwards; ledger_save() stores it.
CREATE OR REPLACE FUNCTION ledger_transfer(
    w wallets, p_id uuid, p_event_id uuid, p_kind text, p_reference_id text, p_revision integer,
    p_debit text, p_credit text, p_amount bigint, p_effective_at timestamptz, p_actor uuid, p_reverses uuid DEFAULT NULL
) RETURNS wallets
LANGUAGE plpgsql AS $$
DECLARE
    t transfers;
BEGIN
    w.available := w.available + CASE 'available' WHEN p_credit THEN p_amount WHEN p_debit THEN -p_amount ELSE 0 END;
    w.held := w.held + CASE 'held' WHEN p_credit THEN p_amount WHEN p_debit THEN -p_amount ELSE 0 END;
    -- Debt is what the wallet owes to us, so it rises on the debit side.
    w.debt := w.debt + CASE 'debt' WHEN p_debit THEN p_amount WHEN p_credit THEN -p_amount ELSE 0 END;
    w.seq := w.seq + 1;

    t := ROW(p_id, p_event_id, w.id, w.seq, p_debit, p_credit, p_amount, p_kind, p_reference_id, p_revision, p_reverses,
             p_effective_at, ledger_now(), p_actor, w.available, w.held, w.debt, NULL);
    t.hash := ledger_hash(w.head_hash, t);
    INSERT INTO transfers SELECT t.*;
    w.head_hash := t.hash;
    RETURN w;
END $$;

-- Moves that much into (or out of) what can be spent of a grant and what is held of it, because of a transfer.
CREATE OR REPLACE FUNCTION ledger_move(p_transfer_id uuid, p_grant_id uuid, p_available bigint, p_held bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO grant_moves (transfer_id, grant_id, available, held)
        VALUES (p_transfer_id, p_grant_id, p_available, p_held);
    UPDATE grants SET remaining = remaining + p_available, held = held + p_held WHERE id = p_grant_id;
END $$;

-- Takes `p_amount` out of the wallet's grants in burn-down order: priority, soonest expiry, promotional before paid, oldest.
-- For a hold it stays with them as held.
CREATE OR REPLACE FUNCTION ledger_burn(p_wallet_id uuid, p_transfer_id uuid, p_amount bigint, p_hold boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    g record;
    left_to_take bigint := p_amount;
    part bigint;
BEGIN
    FOR g IN
        SELECT id, remaining FROM grants WHERE wallet_id = p_wallet_id AND is_open
        ORDER BY priority, expires_at NULLS LAST, (category = 'paid'), created_at, id
    LOOP
        part := least(left_to_take, g.remaining);
        PERFORM ledger_move(p_transfer_id, g.id, -part, CASE WHEN p_hold THEN part ELSE 0 END);
        left_to_take := left_to_take - part;
        EXIT WHEN left_to_take = 0;
    END LOOP;
    IF left_to_take > 0 THEN
        RAISE EXCEPTION 'wallet %: its grants hold % less than its balance', p_wallet_id, left_to_take
            USING ERRCODE = 'check_violation';
    END IF;
END $$;

-- Credits that came in repay debt first, out of the grant that brought them. Its own transfer, so that it can be explained.
-- Its reference is the grant, as that of every transfer that is about a grant and not about the outside: only the grant's
-- wallet uses it, so the next free revision can be read under the wallet's lock.
CREATE OR REPLACE FUNCTION ledger_repay_debt(
    w wallets, p_event_id uuid, p_grant_id uuid, p_most bigint, p_effective_at timestamptz, p_actor uuid
) RETURNS wallets
LANGUAGE plpgsql AS $$
DECLARE
    part bigint := least(w.debt, p_most);
    repayment uuid := ledger_uuid7();
    next_revision integer;
BEGIN
    IF part = 0 THEN RETURN w; END IF;
    SELECT coalesce(max(revision) + 1, 0) INTO next_revision
        FROM transfers WHERE kind = 'debt_repaid' AND reference_id = p_grant_id::text;
    w := ledger_transfer(w, repayment, p_event_id, 'debt_repaid', p_grant_id::text, next_revision,
                         'available', 'debt', part, p_effective_at, p_actor);
    PERFORM ledger_move(repayment, p_grant_id, -part, 0);
    RETURN w;
END $$;

-- Expires what is due and not held, one transfer for each grant. Part of every operation on a wallet, so that nobody can
-- spend credits that ran out while the job that expires them was late.
CREATE OR REPLACE FUNCTION ledger_expire_due(w wallets) RETURNS wallets
LANGUAGE plpgsql AS $$
DECLARE
    g record;
    expiry uuid;
    at timestamptz := ledger_now();
    next_revision integer;
BEGIN
    IF w.next_expiry_at IS NULL OR w.next_expiry_at > at THEN RETURN w; END IF;
    FOR g IN
        SELECT id, remaining, expires_at FROM grants
        WHERE wallet_id = w.id AND is_open AND expires_at <= at ORDER BY expires_at, id
    LOOP
        expiry := ledger_uuid7();
        SELECT coalesce(max(revision) + 1, 0) INTO next_revision
            FROM transfers WHERE kind = 'expiry' AND reference_id = g.id::text;
        w := ledger_transfer(w, expiry, expiry, 'expiry', g.id::text, next_revision,
                             'available', 'expired', g.remaining, g.expires_at, NULL);
        PERFORM ledger_move(expiry, g.id, -g.remaining, 0);
    END LOOP;
    RETURN w;
END $$;

-- Stores the wallet after its transfers. Whoever opens a grant sets `next_expiry_at` to no later than that grant's; so where
-- it is NULL nothing can expire, and else it is looked up, because the grant that it is about may be used up.
CREATE OR REPLACE FUNCTION ledger_save(w wallets) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF w.next_expiry_at IS NOT NULL THEN
        SELECT min(expires_at) INTO w.next_expiry_at FROM grants WHERE wallet_id = w.id AND is_open;
    END IF;
    UPDATE wallets SET available = w.available, held = w.held, debt = w.debt, seq = w.seq, head_hash = w.head_hash,
                       next_expiry_at = w.next_expiry_at WHERE id = w.id;
END $$;

CREATE OR REPLACE FUNCTION ledger_answer(
    p_code text, w wallets, p_event_id uuid DEFAULT NULL, p_transfer_id uuid DEFAULT NULL, p_grant_id uuid DEFAULT NULL,
    p_amount bigint DEFAULT 0
) RETURNS ledger_result
LANGUAGE sql IMMUTABLE AS $$
    SELECT ROW(p_code, w.id, p_event_id, p_transfer_id, p_grant_id, p_amount,
               coalesce(w.available, 0), coalesce(w.held, 0), coalesce(w.debt, 0))::ledger_result
$$;

-- The answer for a business key that was used before: `duplicate` for the same thing, `conflict` for another.
-- NULL when it was not used yet.
CREATE OR REPLACE FUNCTION ledger_prior(
    w wallets, p_kind text, p_reference_id text, p_debit text, p_amount numeric
) RETURNS ledger_result
LANGUAGE plpgsql AS $$
DECLARE
    t transfers;
BEGIN
    -- Two wallets that are sent the same key at once take turns; else both would find it unused and one would fail.
    PERFORM pg_advisory_xact_lock(hashtextextended(p_kind || '|' || p_reference_id, 5064361003));
    SELECT * INTO t FROM transfers WHERE kind = p_kind AND reference_id = p_reference_id AND revision = 0;
    IF NOT FOUND THEN RETURN NULL; END IF;
    RETURN ledger_answer(
        CASE WHEN (t.wallet_id, t.debit_account, t.amount) = (w.id, p_debit, p_amount) THEN 'duplicate' ELSE 'conflict' END,
        w, t.event_id, t.id, (SELECT grant_id FROM grant_moves WHERE transfer_id = t.id AND available > 0 LIMIT 1),
        CASE t.debit_account WHEN 'available' THEN -t.amount ELSE t.amount END);
END $$;
