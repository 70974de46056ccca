-- Expires the grants of a wallet whose time has come. Codes: ok, nothing_due, wallet_not_found. `amount` is what expired.
CREATE OR REPLACE FUNCTION ledger_expire(p_wallet_id uuid) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    before bigint;
BEGIN
    SELECT * INTO w FROM wallets WHERE id = p_wallet_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('wallet_not_found', NULL); END IF;
    before := w.available;
    w := ledger_expire_due(w);
    IF w.available = before THEN RETURN ledger_answer('nothing_due', w); END IF;
    PERFORM ledger_save(w);
    RETURN ledger_answer('ok', w, p_amount => before - w.available);
END $$;

-- Items: a JSON array of wallet ids.
CREATE OR REPLACE FUNCTION ledger_expire_batch(p_items jsonb) RETURNS SETOF ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    ids uuid[] := ARRAY(SELECT x::uuid FROM jsonb_array_elements_text(p_items) WITH ORDINALITY i(x, n) ORDER BY n);
    id uuid;
BEGIN
    PERFORM ledger_lock_wallets(ids);
    FOREACH id IN ARRAY ids LOOP
        RETURN NEXT ledger_expire(id);
    END LOOP;
END $$;
