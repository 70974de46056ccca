-- Puts credits into a wallet as a grant.

-- The part that a grant and a positive adjustment share: on a locked wallet, without any check.
CREATE OR REPLACE FUNCTION ledger_add_grant(
    w wallets, p_grant_id uuid, p_transfer_id uuid, p_event_id uuid, p_kind text, p_reference_id text, p_from_account text,
    p_source text, p_category text, p_amount bigint, p_cost_minor bigint, p_priority smallint,
    p_expires_at timestamptz, p_effective_at timestamptz, p_actor uuid,
    OUT wallet wallets, OUT grant_id uuid
)
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    -- A wallet with very many open grants would be slow to burn. Only credits that were given away and are alike in all
    -- that matters merge; what was paid for stays separate for ever, because a refund has to find it.
    IF p_category = 'promotional' AND (SELECT count(*) FROM grants g WHERE g.wallet_id = w.id AND g.remaining > 0) >= 32 THEN
        SELECT g.id INTO grant_id FROM grants g
            WHERE g.wallet_id = w.id AND g.remaining > 0 AND g.category = 'promotional' AND g.source = p_source
              AND g.priority = p_priority AND g.expires_at IS NOT DISTINCT FROM p_expires_at
            ORDER BY g.id DESC LIMIT 1;
    END IF;
    IF grant_id IS NULL THEN
        grant_id := p_grant_id;
        INSERT INTO grants (id, wallet_id, source, category, amount, remaining, cost_minor, priority, reference_id,
                            effective_at, expires_at, created_at)
        VALUES (grant_id, w.id, p_source, p_category, p_amount, 0, p_cost_minor, p_priority, p_reference_id,
                p_effective_at, p_expires_at, ledger_now());
    ELSE
        UPDATE grants SET amount = amount + p_amount WHERE id = grant_id;
    END IF;
    wallet := ledger_transfer(w, p_transfer_id, p_event_id, p_kind, p_reference_id, 0,
                              p_from_account, 'available', p_amount, p_effective_at, p_actor);
    PERFORM ledger_move(p_transfer_id, grant_id, p_amount);
    IF p_category = 'paid' THEN
        wallet := ledger_repay_debt(wallet, p_event_id, grant_id, p_amount, p_reference_id, p_effective_at, p_actor);
    END IF;
END $$;

-- Codes: ok, duplicate, conflict, wallet_not_found, amount_out_of_range, already_expired.
-- A frozen or closed wallet takes grants: money that was received must always find its wallet.
CREATE OR REPLACE FUNCTION ledger_grant(
    p_wallet_id uuid, p_grant_id uuid, p_kind text, p_reference_id text, p_source text, p_category text, p_amount bigint,
    p_cost_minor bigint, p_priority smallint, p_expires_at timestamptz, p_effective_at timestamptz, p_actor uuid, p_note text
) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    prior ledger_result;
    event uuid := ledger_uuid7();
    transfer uuid := ledger_uuid7();
    begins timestamptz := coalesce(p_effective_at, ledger_now());
    added record;
BEGIN
    SELECT * INTO w FROM wallets WHERE id = p_wallet_id FOR UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('wallet_not_found', NULL); END IF;
    prior := ledger_prior(w, p_kind, p_reference_id, 0, p_amount);
    IF prior.code IS NOT NULL THEN RETURN prior; END IF;
    IF p_amount NOT BETWEEN 1 AND 1000000000000000000 OR w.available > 8000000000000000000 THEN
        RETURN ledger_answer('amount_out_of_range', w);
    END IF;
    IF p_expires_at <= greatest(ledger_now(), begins) THEN RETURN ledger_answer('already_expired', w); END IF;

    w := ledger_expire_due(w);
    added := ledger_add_grant(w, p_grant_id, transfer, event, p_kind, p_reference_id, 'issued_' || p_category, p_source,
                              p_category, p_amount, p_cost_minor, p_priority, p_expires_at, begins, p_actor);
    w := added.wallet;
    PERFORM ledger_save(w);
    IF p_note IS NOT NULL THEN INSERT INTO transfer_notes (event_id, note) VALUES (event, p_note); END IF;
    RETURN ledger_answer('ok', w, event, transfer, added.grant_id, p_amount);
END $$;

-- Items: a JSON array of objects with ledger_grant's arguments without their p_. The answers come in the order of the items.
-- Wallets are locked in id order first, so that two batches never wait for each other in a circle.
CREATE OR REPLACE FUNCTION ledger_grant_batch(p_items jsonb) RETURNS SETOF ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    i record;
BEGIN
    PERFORM FROM wallets WHERE id IN (SELECT (x ->> 'wallet_id')::uuid FROM jsonb_array_elements(p_items) x)
        ORDER BY id FOR UPDATE;
    FOR i IN
        SELECT r.* FROM ROWS FROM (jsonb_to_recordset(p_items) AS (
            wallet_id uuid, grant_id uuid, kind text, reference_id text, source text, category text, amount bigint,
            cost_minor bigint, priority smallint, expires_at timestamptz, effective_at timestamptz, actor uuid, note text
        )) WITH ORDINALITY r ORDER BY r.ordinality
    LOOP
        RETURN NEXT ledger_grant(
            i.wallet_id, i.grant_id, i.kind, i.reference_id, i.source, i.category, i.amount, coalesce(i.cost_minor, 0),
            coalesce(i.priority, 100::smallint), i.expires_at, i.effective_at, i.actor, i.note);
    END LOOP;
END $$;
