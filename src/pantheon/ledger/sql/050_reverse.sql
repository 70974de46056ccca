-- Takes back a part of a grant, or gives it back again, until exactly `p_target` of it is reversed.

-- The target is absolute, so repeating a call or computing it twice from the same facts changes nothing.
-- Unspent credits of this grant go first; what was spent becomes debt. A restore repays debt before anything else.
-- Codes: ok, unchanged, grant_not_found, amount_out_of_range.
CREATE OR REPLACE FUNCTION ledger_reverse_to_target(
    p_grant_id uuid, p_target bigint, p_effective_at timestamptz, p_actor uuid, p_note text
) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    g grants;
    event uuid := ledger_uuid7();
    transfer uuid := ledger_uuid7();
    issued text;
    change bigint;
    unspent bigint;
    at timestamptz := coalesce(p_effective_at, ledger_now());
BEGIN
    -- A grant never changes its wallet, so this look before the lock is safe; the grant itself is read after it.
    SELECT wallets.* INTO w FROM wallets
        WHERE wallets.id = (SELECT wallet_id FROM grants WHERE grants.id = p_grant_id) FOR UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('grant_not_found', NULL); END IF;
    w := ledger_expire_due(w);
    SELECT * INTO g FROM grants WHERE id = p_grant_id;
    IF p_target NOT BETWEEN 0 AND g.amount THEN
        PERFORM ledger_save(w);
        RETURN ledger_answer('amount_out_of_range', w);
    END IF;
    change := p_target - g.reversed;
    IF change = 0 THEN
        PERFORM ledger_save(w);
        RETURN ledger_answer('unchanged', w, p_grant_id => g.id);
    END IF;

    issued := 'issued_' || g.category;
    UPDATE grants SET reversed = p_target, revision = revision + 1 WHERE id = g.id;
    IF change > 0 THEN
        unspent := least(change, g.remaining);
        IF unspent > 0 THEN
            w := ledger_transfer(w, transfer, event, 'reversal', g.reference_id, g.revision, 'available', issued, unspent,
                                 at, p_actor);
            PERFORM ledger_move(transfer, g.id, -unspent);
        END IF;
        IF change > unspent THEN
            w := ledger_transfer(w, ledger_uuid7(), event, 'debt_raised', g.reference_id, g.revision, 'debt', issued,
                                 change - unspent, at, p_actor);
        END IF;
    ELSE
        w := ledger_transfer(w, transfer, event, 'restore', g.reference_id, g.revision, issued, 'available', -change,
                             at, p_actor);
        PERFORM ledger_move(transfer, g.id, -change);
        w := ledger_repay_debt(w, event, g.id, -change, g.reference_id, at, p_actor);
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
    PERFORM FROM wallets WHERE id IN (
        SELECT wallet_id FROM grants WHERE id IN (SELECT (x ->> 'grant_id')::uuid FROM jsonb_array_elements(p_items) x)
    ) ORDER BY id FOR UPDATE;
    FOR i IN
        SELECT r.* FROM ROWS FROM (jsonb_to_recordset(p_items) AS (
            grant_id uuid, target bigint, effective_at timestamptz, actor uuid, note text
        )) WITH ORDINALITY r ORDER BY r.ordinality
    LOOP
        RETURN NEXT ledger_reverse_to_target(i.grant_id, i.target, i.effective_at, i.actor, i.note);
    END LOOP;
END $$;
