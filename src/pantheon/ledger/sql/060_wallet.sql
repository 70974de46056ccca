-- Opens the wallet of a user. Codes: ok, duplicate.
CREATE OR REPLACE FUNCTION ledger_open_wallet(p_wallet_id uuid, p_user_id uuid) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
BEGIN
    INSERT INTO wallets (id, user_id, created_at) VALUES (p_wallet_id, p_user_id, ledger_now())
        ON CONFLICT ON CONSTRAINT wallets_user_has_one DO NOTHING RETURNING * INTO w;
    IF FOUND THEN RETURN ledger_answer('ok', w); END IF;
    SELECT * INTO w FROM wallets WHERE user_id = p_user_id;
    RETURN ledger_answer('duplicate', w);
END $$;

-- Freezes a wallet, or thaws it. Codes: ok, unchanged, wallet_not_found, wallet_closed.
CREATE OR REPLACE FUNCTION ledger_set_frozen(p_wallet_id uuid, p_frozen boolean) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    wanted text := CASE WHEN p_frozen THEN 'frozen' ELSE 'active' END;
BEGIN
    SELECT * INTO w FROM wallets WHERE id = p_wallet_id FOR UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('wallet_not_found', NULL); END IF;
    IF w.state = 'closed' THEN RETURN ledger_answer('wallet_closed', w); END IF;
    IF w.state = wanted THEN RETURN ledger_answer('unchanged', w); END IF;
    UPDATE wallets SET state = wanted WHERE id = p_wallet_id;
    RETURN ledger_answer('ok', w);
END $$;
