-- Limits: the most that a wallet may spend in a period, altogether, through one API key, by one agent, in one room or on
-- one model. Every limit belongs to one wallet, so that wallet's lock guards its counters. Periods are those of UTC.
-- A user's limit and an operator's (`set_by`) stand side by side, so a draw has to keep within both.

CREATE OR REPLACE FUNCTION ledger_period_from(p_period text) RETURNS date
LANGUAGE sql STABLE AS $$
    SELECT CASE p_period WHEN 'total' THEN date '0001-01-01'
                         ELSE date_trunc(p_period, ledger_now() AT TIME ZONE 'UTC')::date END
$$;

-- The limits that a draw for `p_scopes` is under, such as {"api_key": "…", "model": "…"}: the tightest first.
CREATE OR REPLACE FUNCTION ledger_limits_of(p_wallet_id uuid, p_scopes jsonb)
RETURNS TABLE (limit_id uuid, period_from date, scope text, period text, remaining bigint)
LANGUAGE sql STABLE AS $$
    SELECT l.id, ledger_period_from(l.period), l.scope, l.period,
           greatest(l.amount - coalesce(c.reserved + c.spent, 0), 0) AS remaining
    FROM spend_limits l
    LEFT JOIN spend_counters c ON c.limit_id = l.id AND c.period_from = ledger_period_from(l.period)
    WHERE l.wallet_id = p_wallet_id AND l.ended_at IS NULL AND (l.scope = 'wallet' OR l.scope_id = p_scopes ->> l.scope)
    ORDER BY remaining, l.id
$$;

CREATE OR REPLACE FUNCTION ledger_reserve_in_limits(p_wallet_id uuid, p_draw_id uuid, p_amount bigint, p_scopes jsonb)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    l record;
BEGIN
    FOR l IN SELECT * FROM ledger_limits_of(p_wallet_id, p_scopes) LOOP
        INSERT INTO spend_counters (limit_id, period_from, reserved) VALUES (l.limit_id, l.period_from, p_amount)
            ON CONFLICT (limit_id, period_from) DO UPDATE SET reserved = spend_counters.reserved + p_amount;
        INSERT INTO draw_limits (draw_id, limit_id, period_from) VALUES (p_draw_id, l.limit_id, l.period_from);
    END LOOP;
END $$;

-- What a draw had reserved is reserved no more, and `p_spent` of it is spent: in the period in which it was drawn.
CREATE OR REPLACE FUNCTION ledger_end_in_limits(p_draw_id uuid, p_reserved bigint, p_spent bigint) RETURNS void
LANGUAGE sql AS $$
    UPDATE spend_counters c SET reserved = c.reserved - p_reserved, spent = c.spent + p_spent
    FROM draw_limits d
    WHERE d.draw_id = p_draw_id AND (c.limit_id, c.period_from) = (d.limit_id, d.period_from)
$$;

-- The draws of a wallet that are open now, of those that a limit is about.
CREATE OR REPLACE FUNCTION ledger_open_draws_of(p_wallet_id uuid, p_scope text, p_scope_id text)
RETURNS TABLE (draw_id uuid, amount bigint)
LANGUAGE sql STABLE AS $$
    SELECT d.id, d.amount
    FROM holds h JOIN draws d ON d.hold_id = h.id LEFT JOIN calls c ON c.id = d.id
    WHERE h.wallet_id = p_wallet_id AND h.state = 'placed' AND d.state = 'open'
      AND (p_scope = 'wallet' OR p_scope_id = CASE p_scope
            WHEN 'model' THEN c.model_alias
            WHEN 'api_key' THEN c.api_key_id::text
            WHEN 'agent' THEN c.agent_id::text
            WHEN 'room' THEN c.room_id::text END)
$$;

-- Sets the limit of one scope, period and setter, or changes the one that is there, whose id then stays. A new one counts
-- what its period has seen, and what calls under way have reserved.
-- Codes: ok, unchanged, wallet_not_found, amount_out_of_range.
CREATE OR REPLACE FUNCTION ledger_set_spend_limit(
    p_wallet_id uuid, p_limit_id uuid, p_scope text, p_scope_id text, p_period text, p_amount bigint,
    p_set_by text DEFAULT 'user'
) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
    l spend_limits;
BEGIN
    SELECT * INTO w FROM wallets WHERE id = p_wallet_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN ledger_answer('wallet_not_found', NULL); END IF;
    IF NOT coalesce(p_amount BETWEEN 0 AND 1000000000000000000, false) THEN
        RETURN ledger_answer('amount_out_of_range', w);
    END IF;
    SELECT * INTO l FROM spend_limits
        WHERE wallet_id = w.id AND (scope, scope_id, period, set_by) = (p_scope, p_scope_id, p_period, p_set_by)
          AND ended_at IS NULL;
    IF l.amount = p_amount THEN RETURN ledger_answer('unchanged', w); END IF;
    IF FOUND THEN
        UPDATE spend_limits SET amount = p_amount WHERE id = l.id;
        RETURN ledger_answer('ok', w);
    END IF;
    INSERT INTO spend_limits (id, wallet_id, scope, scope_id, period, amount, created_at, set_by)
        VALUES (p_limit_id, w.id, p_scope, p_scope_id, p_period, p_amount, ledger_now(), p_set_by);
    INSERT INTO spend_counters (limit_id, period_from, spent)
        SELECT p_limit_id, ledger_period_from(p_period), coalesce(sum(charged), 0) FROM receipts
        WHERE wallet_id = w.id AND created_at >= ledger_period_from(p_period)::timestamp AT TIME ZONE 'UTC'
          AND (p_scope = 'wallet' OR body -> 'scopes' ->> p_scope = p_scope_id);
    INSERT INTO draw_limits (draw_id, limit_id, period_from)
        SELECT draw_id, p_limit_id, ledger_period_from(p_period) FROM ledger_open_draws_of(w.id, p_scope, p_scope_id);
    UPDATE spend_counters SET reserved = reserved
            + (SELECT coalesce(sum(amount), 0) FROM ledger_open_draws_of(w.id, p_scope, p_scope_id))
        WHERE limit_id = p_limit_id;
    RETURN ledger_answer('ok', w);
END $$;

-- Codes: ok, unchanged (there is none).
CREATE OR REPLACE FUNCTION ledger_end_spend_limit(
    p_wallet_id uuid, p_scope text, p_scope_id text, p_period text, p_set_by text DEFAULT 'user'
) RETURNS ledger_result
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    w wallets;
BEGIN
    SELECT * INTO w FROM wallets WHERE id = p_wallet_id FOR NO KEY UPDATE;
    UPDATE spend_limits SET ended_at = ledger_now()
        WHERE wallet_id = w.id AND (scope, scope_id, period, set_by) = (p_scope, p_scope_id, p_period, p_set_by)
          AND ended_at IS NULL;
    RETURN ledger_answer(CASE WHEN FOUND THEN 'ok' ELSE 'unchanged' END, w);
END $$;
