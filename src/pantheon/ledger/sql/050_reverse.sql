-- Takes back a part of a grant, or gives it back again, until exactly `p_target` of it is reversed.

-- The target is absolute, so repeating a call or computing it twice from the same facts changes nothing. Whoever computes
-- it holds a lock over its facts until here, so that an older target cannot overtake a newer one.
-- Taking back: first what of this grant is available, then what of it ran out, which nobody owes; the rest was spent or is
-- held and becomes debt. Giving back: into the grant, debt first; what would have run out meanwhile runs out at once.
-- Codes: ok, unchanged, grant_not_found, not_reversible, amount_out_of_range. An adjustment is not reversed but adjusted.
CREATE OR REPLACE FUNCTION ledger_reverse_to_target(
    p_grant_id uuid, p_target bigint, p_effective_at timestamptz, p_actor uuid, p_note text
) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    g grants;
    refusal text;
    event uuid := ledger_uuid7();
    transfer uuid := ledger_uuid7();
    next_transfer uuid := transfer;
    origin uuid;
    issued text;
    change bigint;
    unspent bigint;
    ran_out bigint;
    part record;
    at timestamptz := coalesce(p_effective_at, ledger_now());
BEGIN
    -- A grant never changes its wallet, so this look before the lock is safe; the grant itself is read after it.
    SELECT wallets.* INTO w FROM wallets
        WHERE wallets.id = (SELECT wallet_id FROM grants WHERE grants.id = p_grant_id) FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('grant_not_found', NULL); END IF;
    w := ledger_expire_due(w);
    SELECT * INTO g FROM grants WHERE id = p_grant_id;
    refusal := CASE
        WHEN g.source = 'adjustment' THEN 'not_reversible'
        WHEN (p_target BETWEEN 0 AND g.amount) IS NOT TRUE THEN 'amount_out_of_range'
        WHEN p_target = g.reversed THEN 'unchanged'
        WHEN NOT ledger_is_postable(w, abs(p_target - g.reversed)) THEN 'amount_out_of_range' END;
    IF refusal IS NOT NULL THEN
        PERFORM ledger_save(w);
        RETURN ledger_answer(refusal, w, p_grant_id => g.id);
    END IF;

    change := p_target - g.reversed;
    issued := 'issued_' || g.category;
    SELECT t.id INTO origin FROM grant_moves m JOIN transfers t ON t.id = m.transfer_id
        WHERE m.grant_id = g.id ORDER BY t.wallet_seq LIMIT 1;
    UPDATE grants SET reversed = p_target, revision = revision + 1 WHERE id = g.id;
    IF change > 0 THEN
        unspent := least(change, g.remaining);
        SELECT least(change - unspent, coalesce(sum(CASE kind WHEN 'expiry' THEN amount ELSE -amount END), 0)) INTO ran_out
            FROM transfers WHERE kind IN ('expiry', 'expiry_reversed') AND reference_id = g.id::text;
        FOR part IN
            SELECT * FROM (VALUES
                ('reversal', 'available', unspent),
                ('expiry_reversed', 'expired', ran_out),
                ('debt_raised', 'debt', change - unspent - ran_out)
            ) parts (kind, debit, amount) WHERE amount > 0
        LOOP
            w := ledger_transfer(w, next_transfer, event, part.kind, g.id::text, g.revision, part.debit, issued,
                                 part.amount, at, p_actor, origin);
            IF part.debit = 'available' THEN PERFORM ledger_move(next_transfer, g.id, -part.amount, 0); END IF;
            next_transfer := ledger_uuid7();
        END LOOP;
    ELSE
        w := ledger_transfer(w, transfer, event, 'restore', g.id::text, g.revision, issued, 'available', -change,
                             at, p_actor, origin);
        PERFORM ledger_move(transfer, g.id, -change, 0);
        w := ledger_repay_debt(w, event, g.id, -change, at, p_actor);
        w.next_expiry_at := least(w.next_expiry_at, g.expires_at);
        w := ledger_expire_due(w);
    END IF;
    PERFORM ledger_save(w);
    IF p_note IS NOT NULL THEN INSERT INTO transfer_notes (event_id, note) VALUES (event, p_note); END IF;
    RETURN ledger_answer('ok', w, event, transfer, g.id, change);
END $$;

-- Items: {grant_id, target, effective_at, actor, note}.
CREATE OR REPLACE FUNCTION ledger_reverse_to_target_batch(p_items jsonb) RETURNS SETOF ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    i record;
BEGIN
    PERFORM ledger_lock_wallets(ARRAY(
        SELECT wallet_id FROM grants WHERE id IN (SELECT (x ->> 'grant_id')::uuid FROM jsonb_array_elements(p_items) x)));
    FOR i IN
        SELECT r.* FROM ROWS FROM (jsonb_to_recordset(p_items) AS (
            grant_id uuid, target bigint, effective_at timestamptz, actor uuid, note text
        )) WITH ORDINALITY r ORDER BY r.ordinality
    LOOP
        RETURN NEXT ledger_reverse_to_target(i.grant_id, i.target, i.effective_at, i.actor, i.note);
    END LOOP;
END $$;
