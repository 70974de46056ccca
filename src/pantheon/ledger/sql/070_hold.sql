-- Holds: credits are set aside before work begins, and what was used of them is captured afterwards.
--
-- A hold is placed, calls draw inside it, each draw is captured, and the hold is released: what was not captured goes back
-- to the grants it came from. Only placing asks whether the wallet may spend. What runs already may always settle, in debt
-- or frozen. Every id is the caller's and its idempotency key.

-- What a hold still keeps of each grant, in burn-down order.
CREATE OR REPLACE FUNCTION ledger_held_of_grants(p_hold_id uuid)
RETURNS TABLE (grant_id uuid, held bigint, expires_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT g.id, sum(m.held)::bigint, g.expires_at
    FROM (
        SELECT 'hold_placed' AS kind, p_hold_id::text AS reference_id
        UNION ALL
        SELECT 'hold_captured', d.id::text FROM draws d WHERE d.hold_id = p_hold_id AND d.captured > 0
    ) booked
    JOIN transfers t ON t.kind = booked.kind AND t.reference_id = booked.reference_id
    JOIN grant_moves m ON m.transfer_id = t.id
    JOIN grants g ON g.id = m.grant_id
    GROUP BY g.id HAVING sum(m.held) > 0
    ORDER BY g.priority, g.expires_at NULLS LAST, (g.category = 'paid'), g.created_at, g.id
$$;

-- Sets `p_amount` aside. Codes: ok, duplicate, conflict, wallet_not_found, amount_out_of_range, already_expired,
-- wallet_not_active, in_debt, not_enough.
CREATE OR REPLACE FUNCTION ledger_place_hold(
    p_wallet_id uuid, p_hold_id uuid, p_amount bigint, p_expires_at timestamptz
) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    h holds;
    refusal text;
    event uuid := ledger_uuid7();
    transfer uuid := ledger_uuid7();
BEGIN
    SELECT * INTO w FROM wallets WHERE id = p_wallet_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('wallet_not_found', NULL); END IF;
    SELECT * INTO h FROM holds WHERE id = p_hold_id;
    IF FOUND THEN
        RETURN ledger_answer(
            CASE WHEN (h.wallet_id, h.amount) = (w.id, p_amount) THEN 'duplicate' ELSE 'conflict' END, w,
            p_amount => h.amount);
    END IF;
    w := ledger_expire_due(w);
    refusal := CASE
        WHEN NOT ledger_is_postable(w, p_amount) THEN 'amount_out_of_range'
        WHEN (p_expires_at > ledger_now()) IS NOT TRUE THEN 'already_expired'
        WHEN w.state <> 'active' THEN 'wallet_not_active'
        WHEN w.debt > 0 THEN 'in_debt'
        WHEN w.available < p_amount THEN 'not_enough' END;
    IF refusal IS NULL THEN
        INSERT INTO holds (id, wallet_id, amount, created_at, expires_at)
        VALUES (p_hold_id, w.id, p_amount, ledger_now(), p_expires_at) ON CONFLICT DO NOTHING;
        -- Another wallet took the same id since we looked.
        IF NOT FOUND THEN refusal := 'conflict'; END IF;
    END IF;
    IF refusal IS NOT NULL THEN
        PERFORM ledger_save(w);
        RETURN ledger_answer(refusal, w);
    END IF;

    w := ledger_transfer(w, transfer, event, 'hold_placed', p_hold_id::text, 0, 'available', 'held', p_amount,
                         ledger_now(), NULL);
    PERFORM ledger_burn(w.id, transfer, p_amount, true);
    PERFORM ledger_save(w);
    RETURN ledger_answer('ok', w, event, transfer, p_amount => p_amount);
END $$;

-- Reserves `p_amount` of a hold for one call. `p_scopes` names for what, so that its limits are found. Codes: ok, duplicate,
-- conflict, hold_not_found, amount_out_of_range, hold_ended, wallet_not_active, not_enough (`amount` is then what the hold
-- could still give), over_limit:SCOPE:PERIOD (`amount` is what the tightest limit leaves).
CREATE OR REPLACE FUNCTION ledger_draw(
    p_hold_id uuid, p_draw_id uuid, p_amount bigint, p_scopes jsonb DEFAULT '{}'
) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    h holds;
    d draws;
    tightest record;
BEGIN
    -- A hold never changes its wallet, so this look before the lock is safe; the hold itself is read after it.
    SELECT wallets.* INTO w FROM wallets
        WHERE wallets.id = (SELECT wallet_id FROM holds WHERE holds.id = p_hold_id) FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('hold_not_found', NULL); END IF;
    SELECT * INTO h FROM holds WHERE id = p_hold_id;
    SELECT * INTO d FROM draws WHERE id = p_draw_id;
    IF FOUND THEN
        RETURN ledger_answer(
            CASE WHEN (d.hold_id, d.amount) = (h.id, p_amount) THEN 'duplicate' ELSE 'conflict' END, w,
            p_amount => d.amount);
    END IF;
    IF NOT ledger_is_postable(w, p_amount) THEN RETURN ledger_answer('amount_out_of_range', w); END IF;
    IF h.state <> 'placed' OR h.expires_at <= ledger_now() THEN RETURN ledger_answer('hold_ended', w); END IF;
    IF w.state <> 'active' THEN RETURN ledger_answer('wallet_not_active', w); END IF;
    IF h.amount - h.captured - h.reserved < p_amount THEN
        RETURN ledger_answer('not_enough', w, p_amount => h.amount - h.captured - h.reserved);
    END IF;
    SELECT * INTO tightest FROM ledger_limits_of(w.id, p_scopes) LIMIT 1;
    IF tightest.remaining < p_amount THEN
        RETURN ledger_answer(concat_ws(':', 'over_limit', tightest.scope, tightest.period), w,
                             p_amount => tightest.remaining);
    END IF;

    INSERT INTO draws (id, hold_id, amount, created_at) VALUES (p_draw_id, h.id, p_amount, ledger_now())
        ON CONFLICT DO NOTHING;
    -- A call inside another wallet's hold took the same id since we looked.
    IF NOT FOUND THEN RETURN ledger_answer('conflict', w); END IF;
    UPDATE holds SET reserved = reserved + p_amount WHERE id = h.id;
    IF tightest.limit_id IS NOT NULL THEN
        PERFORM ledger_reserve_in_limits(w.id, p_draw_id, p_amount, p_scopes);
    END IF;
    RETURN ledger_answer('ok', w, p_amount => p_amount);
END $$;

-- Ends a draw: takes what the call used, at most what it drew; the rest of the draw can be drawn again. What was used
-- beyond the draw is the operator's loss and booked as such. `amount` is what was captured.
-- Codes: ok, duplicate, conflict, draw_not_found, amount_out_of_range, draw_ended (its hold expired first).
CREATE OR REPLACE FUNCTION ledger_capture(p_draw_id uuid, p_used bigint) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    d draws;
    event uuid := ledger_uuid7();
    transfer uuid;
    overrun_transfer uuid;
    taken bigint;
    beyond bigint;
BEGIN
    SELECT wallets.* INTO w FROM wallets
        WHERE wallets.id = (SELECT h.wallet_id FROM draws JOIN holds h ON h.id = draws.hold_id WHERE draws.id = p_draw_id)
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('draw_not_found', NULL); END IF;
    SELECT * INTO d FROM draws WHERE id = p_draw_id;
    IF d.state = 'captured' THEN
        RETURN ledger_answer(
            CASE WHEN d.captured + d.overrun = p_used THEN 'duplicate' ELSE 'conflict' END, w, p_amount => d.captured);
    END IF;
    IF NOT coalesce(p_used BETWEEN 0 AND 1000000000000000000, false) THEN
        RETURN ledger_answer('amount_out_of_range', w);
    END IF;
    IF d.state = 'released' THEN RETURN ledger_answer('draw_ended', w); END IF;

    w := ledger_expire_due(w);
    taken := least(p_used, d.amount);
    beyond := p_used - taken;
    IF taken > 0 THEN
        transfer := ledger_uuid7();
        w := ledger_transfer(w, transfer, event, 'hold_captured', d.id::text, 0, 'held', 'consumed', taken,
                             ledger_now(), NULL);
        PERFORM ledger_capture_from_grants(d.hold_id, transfer, taken);
    END IF;
    IF beyond > 0 THEN
        overrun_transfer := ledger_uuid7();
        w := ledger_transfer(w, overrun_transfer, event, 'overrun', d.id::text, 0, 'operator_overrun', 'consumed', beyond,
                             ledger_now(), NULL);
    END IF;
    UPDATE draws SET state = 'captured', captured = taken, overrun = beyond, ended_at = ledger_now() WHERE id = d.id;
    UPDATE holds SET reserved = reserved - d.amount, captured = captured + taken,
                     state = CASE WHEN captured + taken = amount THEN 'settled' ELSE state END,
                     ended_at = CASE WHEN captured + taken = amount THEN ledger_now() END
        WHERE id = d.hold_id;
    PERFORM ledger_end_in_limits(d.id, d.amount, taken);
    PERFORM ledger_save(w);
    RETURN ledger_answer('ok', w, event, transfer, p_amount => taken);
END $$;

-- Takes `p_amount` out of what a hold keeps of each grant, in burn-down order.
CREATE OR REPLACE FUNCTION ledger_capture_from_grants(p_hold_id uuid, p_transfer_id uuid, p_amount bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    g record;
    left_to_take bigint := p_amount;
    part bigint;
BEGIN
    FOR g IN SELECT * FROM ledger_held_of_grants(p_hold_id) LOOP
        part := least(left_to_take, g.held);
        PERFORM ledger_move(p_transfer_id, g.grant_id, 0, -part);
        left_to_take := left_to_take - part;
        EXIT WHEN left_to_take = 0;
    END LOOP;
    IF left_to_take > 0 THEN
        RAISE EXCEPTION 'hold %: its grants keep % less than it has', p_hold_id, left_to_take
            USING ERRCODE = 'check_violation';
    END IF;
END $$;

-- Ends a hold: what it still keeps goes back to its grants, repays debt first, and what ran out meanwhile expires at once.
-- The part that releasing and expiring share: on a locked wallet, without any check. Answers the ledger's answer.
CREATE OR REPLACE FUNCTION ledger_end_hold(w wallets, h holds, p_state text) RETURNS ledger_result
LANGUAGE plpgsql AS $$
DECLARE
    g record;
    kept bigint := h.amount - h.captured;
    event uuid := ledger_uuid7();
    transfer uuid := ledger_uuid7();
    at timestamptz := ledger_now();
BEGIN
    -- A hold of which everything was captured has ended with that, so there is something to give back.
    w := ledger_transfer(w, transfer, event, 'hold_released', h.id::text, 0, 'held', 'available', kept, at, NULL);
    FOR g IN SELECT * FROM ledger_held_of_grants(h.id) LOOP
        PERFORM ledger_move(transfer, g.grant_id, g.held, -g.held);
        w := ledger_repay_debt(w, event, g.grant_id, g.held, at, NULL);
        w.next_expiry_at := least(w.next_expiry_at, g.expires_at);
    END LOOP;
    w := ledger_expire_due(w);
    PERFORM ledger_end_in_limits(d.id, d.amount, 0) FROM draws d WHERE d.hold_id = h.id AND d.state = 'open';
    UPDATE draws SET state = 'released', ended_at = at WHERE hold_id = h.id AND state = 'open';
    UPDATE holds SET state = p_state, reserved = 0, ended_at = at WHERE id = h.id;
    PERFORM ledger_save(w);
    RETURN ledger_answer('ok', w, event, transfer, p_amount => kept);
END $$;

-- Ends a hold whose work is done. It is `settled` when something of it was captured, and else `released`. `amount` is what
-- went back. Codes: ok, unchanged (it had ended), hold_not_found, draws_open (a call may still use them: capture it first,
-- with 0 where it used nothing).
CREATE OR REPLACE FUNCTION ledger_release(p_hold_id uuid) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    h holds;
BEGIN
    SELECT wallets.* INTO w FROM wallets
        WHERE wallets.id = (SELECT wallet_id FROM holds WHERE holds.id = p_hold_id) FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('hold_not_found', NULL); END IF;
    SELECT * INTO h FROM holds WHERE id = p_hold_id;
    IF h.state <> 'placed' THEN RETURN ledger_answer('unchanged', w); END IF;
    IF h.reserved > 0 THEN RETURN ledger_answer('draws_open', w); END IF;
    RETURN ledger_end_hold(w, h, CASE WHEN h.captured > 0 THEN 'settled' ELSE 'released' END);
END $$;

-- Ends a hold whose time is over, and with it the draws that are still open. `amount` is what went back.
-- Codes: ok, unchanged (it had ended), not_due, hold_not_found.
CREATE OR REPLACE FUNCTION ledger_expire_hold(p_hold_id uuid) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    h holds;
BEGIN
    SELECT wallets.* INTO w FROM wallets
        WHERE wallets.id = (SELECT wallet_id FROM holds WHERE holds.id = p_hold_id) FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('hold_not_found', NULL); END IF;
    SELECT * INTO h FROM holds WHERE id = p_hold_id;
    IF h.state <> 'placed' THEN RETURN ledger_answer('unchanged', w); END IF;
    IF h.expires_at > ledger_now() THEN RETURN ledger_answer('not_due', w); END IF;
    RETURN ledger_end_hold(w, h, 'expired');
END $$;
