-- Fills the books as fast as PostgreSQL can, set by set: one hold with its draw and its full capture for each of the
-- wallets, which is what ledger_place_hold, ledger_draw and ledger_capture leave behind. `ledger verify` proves it.
CREATE PROCEDURE bench_fill(layers integer) LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMP TABLE filling (
        w wallets, grant_id uuid, hold_id uuid, placed transfers, captured transfers, event uuid) ON COMMIT DELETE ROWS;
    FOR layer IN 1 .. layers LOOP
        INSERT INTO filling (w, grant_id, hold_id, event)
            SELECT w, (SELECT g.id FROM grants g WHERE g.wallet_id = w.id AND g.is_open
                       ORDER BY g.priority, g.expires_at, (g.category = 'paid'), g.created_at, g.id LIMIT 1),
                   ledger_uuid7(), ledger_uuid7()
            FROM wallets w;
        UPDATE filling SET placed = ROW(ledger_uuid7(), event, (w).id, (w).seq + 1, 'available', 'held', 1000, 'hold_placed',
            hold_id::text, 0, NULL, now(), now(), NULL, (w).available - 1000, (w).held + 1000, (w).debt, NULL)::transfers;
        UPDATE filling SET placed.hash = ledger_hash((w).head_hash, placed);
        UPDATE filling SET captured = ROW(ledger_uuid7(), ledger_uuid7(), (w).id, (w).seq + 2, 'held', 'consumed', 1000,
            'hold_captured', hold_id::text, 0, NULL, now(), now(), NULL, (w).available - 1000, (w).held, (w).debt,
            NULL)::transfers;
        UPDATE filling SET captured.hash = ledger_hash((placed).hash, captured);
        INSERT INTO transfers SELECT (placed).* FROM filling UNION ALL SELECT (captured).* FROM filling;
        INSERT INTO grant_moves SELECT (placed).id, grant_id, -1000, 1000 FROM filling
            UNION ALL SELECT (captured).id, grant_id, 0, -1000 FROM filling;
        INSERT INTO holds (id, wallet_id, amount, reserved, captured, state, created_at, expires_at, ended_at)
            SELECT hold_id, (w).id, 1000, 0, 1000, 'settled', now(), now() + interval '1 hour', now() FROM filling;
        INSERT INTO draws (id, hold_id, amount, captured, state, created_at, ended_at)
            SELECT hold_id, hold_id, 1000, 1000, 'captured', now(), now() FROM filling;
        UPDATE grants SET remaining = remaining - 1000 FROM filling WHERE grants.id = filling.grant_id;
        UPDATE wallets SET seq = (captured).wallet_seq, available = (captured).available_after, head_hash = (captured).hash
            FROM filling WHERE wallets.id = (w).id;
        COMMIT;
    END LOOP;
    DROP TABLE filling;
END $$;
