-- What queued up for a lane, of all kinds, in its order: one transaction, so all its wallets are locked first.
-- Items: {operation, wallet_id, hold_id, draw_id, amount, expires_at, scopes, receipt}, each with what its operation needs.
CREATE OR REPLACE FUNCTION ledger_lane_batch(p_items jsonb) RETURNS SETOF ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    i record;
BEGIN
    PERFORM ledger_lock_wallets(ARRAY(SELECT (x ->> 'wallet_id')::uuid FROM jsonb_array_elements(p_items) x));
    FOR i IN
        SELECT r.* FROM ROWS FROM (jsonb_to_recordset(p_items) AS (
            operation text, wallet_id uuid, hold_id uuid, draw_id uuid, amount bigint, expires_at timestamptz,
            scopes jsonb, receipt jsonb
        )) WITH ORDINALITY r ORDER BY r.ordinality
    LOOP
        RETURN NEXT CASE i.operation
            WHEN 'place_hold' THEN ledger_place_hold(i.wallet_id, i.hold_id, i.amount, i.expires_at)
            WHEN 'draw' THEN ledger_draw(i.hold_id, i.draw_id, i.amount, coalesce(i.scopes, '{}'))
            WHEN 'capture' THEN ledger_capture(i.draw_id, i.amount)
            WHEN 'settle' THEN ledger_settle(i.draw_id, i.amount, i.receipt)
            WHEN 'settle_unfunded' THEN ledger_settle_unfunded(i.wallet_id, i.draw_id, i.amount, i.receipt)
            WHEN 'release' THEN ledger_release(i.hold_id) END;
    END LOOP;
END $$;
