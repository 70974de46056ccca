-- Puts credits into a wallet as a grant.

-- The part that a grant and a positive adjustment share: on a locked wallet, without any check.
CREATE OR REPLACE FUNCTION ledger_add_grant(
    w wallets, p_grant_id uuid, p_transfer_id uuid, p_event_id uuid, p_kind text, p_reference_id text, p_from_account text,
    p_source text, p_category text, p_amount bigint, p_cost_minor bigint, p_priority smallint,
    p_expires_at timestamptz, p_effective_at timestamptz, p_actor uuid,
    OUT wallet wallets, OUT grant_id uuid
)
LANGUAGE plpgsql AS $$
BEGIN
    -- A wallet with very many open grants would be slow to burn. Only credits that were given away and are alike in all
    -- that matters merge; what came with a payment stays separate for ever, because a refund has to find it.
    -- A merged grant can be reversed only as the one grant that it has become.
    IF p_category = 'promotional' AND p_source <> 'top_up'
       AND (SELECT count(*) FROM grants g WHERE g.wallet_id = w.id AND g.is_open) >= 32 THEN
        SELECT g.id INTO grant_id FROM grants g
            WHERE g.wallet_id = w.id AND g.is_open AND g.category = 'promotional' AND g.source = p_source
              AND g.priority = p_priority AND g.expires_at IS NOT DISTINCT FROM p_expires_at
              AND ledger_is_postable(w, g.amount::numeric + p_amount)
            ORDER BY g.created_at DESC, g.id LIMIT 1;
    END IF;
    IF grant_id IS NULL THEN
        grant_id := p_grant_id;
        INSERT INTO grants (id, wallet_id, source, category, amount, remaining, cost_minor, priority, reference_id,
                            effective_at, expires_at, created_at)
        VALUES (grant_id, w.id, p_source, p_category, p_amount, 0, p_cost_minor, p_priority, p_reference_id,
                p_effective_at, p_expires_at, ledger_now());
    ELSE
        UPDATE grants SET amount = amount + p_amount, cost_minor = cost_minor + p_cost_minor WHERE id = grant_id;
    END IF;
    wallet := ledger_transfer(w, p_transfer_id, p_event_id, p_kind, p_reference_id, 0,
                              p_from_account, 'available', p_amount, p_effective_at, p_actor);
    wallet.next_expiry_at := least(wallet.next_expiry_at, p_expires_at);
    PERFORM ledger_move(p_transfer_id, grant_id, p_amount, 0);
    IF p_category = 'paid' THEN
        wallet := ledger_repay_debt(wallet, p_event_id, grant_id, p_amount, p_effective_at, p_actor);
    END IF;
END $$;

-- Codes: ok, duplicate, conflict, wallet_not_found, amount_out_of_range, not_yet_effective, already_expired.
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
    IF p_kind NOT IN ('top_up_grant', 'admin_grant', 'promotion_grant') THEN
        RAISE EXCEPTION '% is not a kind of grant', p_kind USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO w FROM wallets WHERE id = p_wallet_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('wallet_not_found', NULL); END IF;
    prior := ledger_prior(w, p_kind, p_reference_id, 'issued_' || p_category, p_amount);
    IF prior.code IS NOT NULL THEN RETURN prior; END IF;
    IF EXISTS (SELECT FROM grants WHERE id = p_grant_id) THEN RETURN ledger_answer('conflict', w); END IF;
    IF NOT ledger_is_postable(w, p_amount) THEN RETURN ledger_answer('amount_out_of_range', w); END IF;
    -- Everything in a wallet can be spent at once, so a grant for later is made later. The minute is for clocks that differ.
    IF begins > ledger_now() + interval '1 minute' THEN RETURN ledger_answer('not_yet_effective', w); END IF;
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
CREATE OR REPLACE FUNCTION ledger_grant_batch(p_items jsonb) RETURNS SETOF ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    i record;
BEGIN
    PERFORM ledger_lock_wallets(ARRAY(SELECT (x ->> 'wallet_id')::uuid FROM jsonb_array_elements(p_items) x));
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
