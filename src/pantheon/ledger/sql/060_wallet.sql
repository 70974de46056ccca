-- Opens the wallet of a user. Codes: ok, duplicate (the user has one), conflict (the id is that of another user's wallet).
CREATE OR REPLACE FUNCTION ledger_open_wallet(p_wallet_id uuid, p_user_id uuid) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
BEGIN
    INSERT INTO wallets (id, user_id, created_at) VALUES (p_wallet_id, p_user_id, ledger_now())
        ON CONFLICT DO NOTHING RETURNING * INTO w;
    IF FOUND THEN RETURN ledger_answer('ok', w); END IF;
    SELECT * INTO w FROM wallets WHERE user_id = p_user_id;
    RETURN ledger_answer(CASE WHEN FOUND THEN 'duplicate' ELSE 'conflict' END, w);
END $$;

-- Freezes a wallet, or thaws it. Codes: ok, unchanged, wallet_not_found, wallet_closed.
CREATE OR REPLACE FUNCTION ledger_set_frozen(p_wallet_id uuid, p_frozen boolean) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    -- NULL stays NULL, which no wallet can be: not knowing must not thaw.
    wanted text := CASE p_frozen WHEN true THEN 'frozen' WHEN false THEN 'active' END;
BEGIN
    SELECT * INTO w FROM wallets WHERE id = p_wallet_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('wallet_not_found', NULL); END IF;
    IF w.state = 'closed' THEN RETURN ledger_answer('wallet_closed', w); END IF;
    IF w.state = wanted THEN RETURN ledger_answer('unchanged', w); END IF;
    UPDATE wallets SET state = wanted WHERE id = p_wallet_id;
    RETURN ledger_answer('ok', w);
END $$;

-- Closes the wallet of somebody who leaves: no hold, draw or top-up begins any more. Money that arrives late still finds it.
-- What people wrote beside its transfers is redacted. A debt stays in the books. Codes: ok, unchanged, wallet_not_found, not_empty.
CREATE OR REPLACE FUNCTION ledger_close_wallet(p_wallet_id uuid) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
BEGIN
    SELECT * INTO w FROM wallets WHERE id = p_wallet_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('wallet_not_found', NULL); END IF;
    IF w.state = 'closed' THEN RETURN ledger_answer('unchanged', w); END IF;
    IF w.available > 0 OR w.held > 0 OR EXISTS (SELECT FROM holds WHERE wallet_id = p_wallet_id AND state = 'placed')
    THEN RETURN ledger_answer('not_empty', w); END IF;
    UPDATE transfer_notes SET note = '[redacted]', redacted_at = ledger_now()
        WHERE redacted_at IS NULL AND event_id IN (SELECT event_id FROM transfers WHERE wallet_id = p_wallet_id);
    UPDATE wallets SET state = 'closed' WHERE id = p_wallet_id;
    RETURN ledger_answer('ok', w);
END $$;
