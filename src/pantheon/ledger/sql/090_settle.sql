-- Settling: a capture that leaves a receipt. The receipt's id is that of the draw and of the call, so there is one of each.
-- `p_receipt` says what was used and what it came to; who wrote it knows the draw, so its lines add up to what is charged.

-- Codes: as those of ledger_capture.
CREATE OR REPLACE FUNCTION ledger_settle(p_draw_id uuid, p_used bigint, p_receipt jsonb) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    r ledger_result := ledger_capture(p_draw_id, p_used);
BEGIN
    IF r.code = 'ok' THEN
        INSERT INTO receipts (id, wallet_id, transfer_id, charged, overrun, balance_after, body, created_at)
        VALUES (p_draw_id, r.wallet_id, r.transfer_id, r.amount, p_used - r.amount, r.available + r.held - r.debt,
                p_receipt, ledger_now());
    END IF;
    RETURN r;
END $$;

-- The receipt of a call that has no draw to take from: none was made, or its hold expired first. `p_beyond` of it is the
-- operator's loss; 0 where nothing is charged. Codes: ok, duplicate, conflict (its draw can be captured),
-- wallet_not_found, amount_out_of_range.
CREATE OR REPLACE FUNCTION ledger_settle_unfunded(p_wallet_id uuid, p_call_id uuid, p_beyond bigint, p_receipt jsonb)
RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    event uuid := ledger_uuid7();
BEGIN
    SELECT * INTO w FROM wallets WHERE id = p_wallet_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('wallet_not_found', NULL); END IF;
    IF EXISTS (SELECT FROM receipts WHERE id = p_call_id) THEN RETURN ledger_answer('duplicate', w); END IF;
    IF EXISTS (SELECT FROM draws WHERE id = p_call_id AND state <> 'released') THEN
        RETURN ledger_answer('conflict', w);
    END IF;
    IF NOT coalesce(p_beyond BETWEEN 0 AND 1000000000000000000, false) THEN
        RETURN ledger_answer('amount_out_of_range', w);
    END IF;
    IF p_beyond > 0 THEN
        w := ledger_transfer(w, ledger_uuid7(), event, 'overrun', p_call_id::text, 0, 'operator_overrun', 'consumed',
                             p_beyond, ledger_now(), NULL);
        PERFORM ledger_save(w);
    END IF;
    INSERT INTO receipts (id, wallet_id, charged, overrun, balance_after, body, created_at)
    VALUES (p_call_id, w.id, 0, p_beyond, w.available + w.held - w.debt, p_receipt, ledger_now());
    RETURN ledger_answer('ok', w, event);
END $$;
