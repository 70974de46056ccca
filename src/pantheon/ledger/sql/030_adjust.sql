-- An operator's correction: a positive one is a grant, a negative one burns available credits. Neither touches debt.

-- Codes: ok, duplicate, conflict, wallet_not_found, amount_out_of_range, not_enough. `p_id` is the caller's, its idempotency key.
-- An operator may correct a frozen wallet.
CREATE OR REPLACE FUNCTION ledger_adjust(
    p_wallet_id uuid, p_id uuid, p_amount bigint, p_actor uuid, p_note text
) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    prior ledger_result;
    event uuid := ledger_uuid7();
    transfer uuid := ledger_uuid7();
    added record;
    grant_id uuid;
    size numeric := abs(p_amount::numeric); -- bigint has no abs() of its least number
BEGIN
    SELECT * INTO w FROM wallets WHERE id = p_wallet_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('wallet_not_found', NULL); END IF;
    prior := ledger_prior(w, 'adjustment', p_id::text, CASE WHEN p_amount > 0 THEN 'adjusted' ELSE 'available' END, size);
    IF prior.code IS NOT NULL THEN RETURN prior; END IF;
    IF EXISTS (SELECT FROM grants WHERE id = p_id) THEN RETURN ledger_answer('conflict', w); END IF;
    IF NOT ledger_is_postable(w, size) THEN RETURN ledger_answer('amount_out_of_range', w); END IF;

    w := ledger_expire_due(w);
    IF p_amount > 0 THEN
        added := ledger_add_grant(w, p_id, transfer, event, 'adjustment', p_id::text, 'adjusted', 'adjustment',
                                  'promotional', p_amount, 0, 100::smallint, NULL, ledger_now(), p_actor);
        w := added.wallet;
        grant_id := added.grant_id;
    ELSIF w.available < -p_amount THEN
        -- What had run out stays expired, whether or not the correction itself was possible.
        PERFORM ledger_save(w);
        RETURN ledger_answer('not_enough', w);
    ELSE
        w := ledger_transfer(w, transfer, event, 'adjustment', p_id::text, 0, 'available', 'adjusted', -p_amount,
                             ledger_now(), p_actor);
        PERFORM ledger_burn(w.id, transfer, -p_amount, false);
    END IF;
    PERFORM ledger_save(w);
    IF p_note IS NOT NULL THEN INSERT INTO transfer_notes (event_id, note) VALUES (event, p_note); END IF;
    RETURN ledger_answer('ok', w, event, transfer, grant_id, p_amount);
END $$;

-- Items: {wallet_id, id, amount, actor, note}.
CREATE OR REPLACE FUNCTION ledger_adjust_batch(p_items jsonb) RETURNS SETOF ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    i record;
BEGIN
    PERFORM ledger_lock_wallets(ARRAY(SELECT (x ->> 'wallet_id')::uuid FROM jsonb_array_elements(p_items) x));
    FOR i IN
        SELECT r.* FROM ROWS FROM (jsonb_to_recordset(p_items) AS (
            wallet_id uuid, id uuid, amount bigint, actor uuid, note text
        )) WITH ORDINALITY r ORDER BY r.ordinality
    LOOP
        RETURN NEXT ledger_adjust(i.wallet_id, i.id, i.amount, i.actor, i.note);
    END LOOP;
END $$;
