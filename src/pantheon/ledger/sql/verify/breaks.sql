-- One row for each thing in the books that does not add up.
WITH chained AS (
    SELECT t.*,
           lag(t.hash, 1, ''::bytea) OVER per_wallet AS head,
           lag(t.wallet_seq, 1, 0::bigint) OVER per_wallet AS seq_before,
           lag(t.available_after, 1, 0::bigint) OVER per_wallet
               + CASE 'available' WHEN t.credit_account THEN t.amount WHEN t.debit_account THEN -t.amount ELSE 0 END AS available_now,
           lag(t.held_after, 1, 0::bigint) OVER per_wallet
               + CASE 'held' WHEN t.credit_account THEN t.amount WHEN t.debit_account THEN -t.amount ELSE 0 END AS held_now,
           lag(t.debt_after, 1, 0::bigint) OVER per_wallet
               + CASE 'debt' WHEN t.debit_account THEN t.amount WHEN t.credit_account THEN -t.amount ELSE 0 END AS debt_now
    FROM transfers t
    WINDOW per_wallet AS (PARTITION BY t.wallet_id ORDER BY t.wallet_seq)
), compared AS (
    SELECT c.id, c.wallet_seq, c.seq_before,
           c.wallet_seq <> c.seq_before + 1 AS wrong_sequence,
           (c.available_after, c.held_after, c.debt_after) IS DISTINCT FROM (c.available_now, c.held_now, c.debt_now) AS wrong_balance,
           c.hash IS DISTINCT FROM ledger_hash(c.head, ROW(
               c.id, c.event_id, c.wallet_id, c.wallet_seq, c.debit_account, c.credit_account, c.amount, c.kind,
               c.reference_id, c.revision, c.reverses, c.effective_at, c.recorded_at, c.actor, c.available_after,
               c.held_after, c.debt_after, c.hash)::transfers) AS wrong_hash
    FROM chained c
), broken AS (
    -- Kept as it is three times looked through, and small: one pass over all transfers has found them.
    SELECT * FROM compared WHERE wrong_sequence OR wrong_balance OR wrong_hash
), moved AS (
    SELECT transfer_id, sum(available)::bigint AS available, sum(held)::bigint AS held FROM grant_moves GROUP BY transfer_id
), granted AS (
    SELECT m.grant_id, sum(m.available)::bigint AS remaining, sum(m.held)::bigint AS held,
           sum(t.amount) FILTER (
               WHERE t.kind IN ('top_up_grant', 'admin_grant', 'promotion_grant', 'adjustment') AND t.credit_account = 'available'
           )::bigint AS amount,
           count(*) FILTER (WHERE t.wallet_id <> g.wallet_id) AS strays
    FROM grant_moves m JOIN transfers t ON t.id = m.transfer_id JOIN grants g ON g.id = m.grant_id
    GROUP BY m.grant_id
), taken_back AS (
    SELECT reference_id, sum(CASE kind WHEN 'restore' THEN -amount ELSE amount END)::bigint AS reversed
    FROM transfers WHERE kind IN ('reversal', 'expiry_reversed', 'debt_raised', 'restore') GROUP BY reference_id
), per_wallet AS (
    SELECT wallet_id, sum(remaining)::bigint AS available, sum(held)::bigint AS held FROM grants GROUP BY wallet_id
), booked AS (
    SELECT t.id, t.kind, t.amount, t.wallet_id, t.reference_id, d.id AS draw_id, coalesce(h.id, d.hold_id) AS hold_id
    FROM transfers t
    LEFT JOIN holds h ON h.id::text = t.reference_id AND t.kind IN ('hold_placed', 'hold_released')
    LEFT JOIN draws d ON d.id::text = t.reference_id AND t.kind IN ('hold_captured', 'overrun')
    WHERE t.kind IN ('hold_placed', 'hold_released', 'hold_captured', 'overrun')
), per_hold AS (
    SELECT h.id, coalesce(sum(b.amount) FILTER (WHERE b.kind = 'hold_placed'), 0) AS placed,
           coalesce(sum(b.amount) FILTER (WHERE b.kind = 'hold_captured'), 0) AS captured,
           coalesce(sum(b.amount) FILTER (WHERE b.kind = 'hold_released'), 0) AS released,
           count(*) FILTER (WHERE b.wallet_id <> h.wallet_id) AS strays
    FROM holds h JOIN booked b ON b.hold_id = h.id GROUP BY h.id
), drawn AS (
    SELECT hold_id, sum(amount) FILTER (WHERE state = 'open') AS reserved, sum(captured) AS captured
    FROM draws GROUP BY hold_id
), per_draw AS (
    SELECT draw_id, coalesce(sum(amount) FILTER (WHERE kind = 'hold_captured'), 0) AS captured,
           coalesce(sum(amount) FILTER (WHERE kind = 'overrun'), 0) AS overrun
    FROM booked GROUP BY draw_id
), kept AS (
    SELECT b.hold_id, m.grant_id, sum(m.held) AS held
    FROM booked b JOIN grant_moves m ON m.transfer_id = b.id GROUP BY b.hold_id, m.grant_id
)
SELECT 'chain' AS check, 'transfer ' || id AS row, 'its hash is not that of its content and the transfer before it' AS detail
    FROM broken WHERE wrong_hash
UNION ALL
SELECT 'sequence', 'transfer ' || id, 'a transfer is missing before it: ' || seq_before || ' then ' || wallet_seq
    FROM broken WHERE wrong_sequence
UNION ALL
SELECT 'balance after', 'transfer ' || id, 'the balances that it states do not follow from the transfer before it'
    FROM broken WHERE wrong_balance
UNION ALL
SELECT 'wallet', 'wallet ' || w.id, 'its balance is not what its last transfer left'
    FROM wallets w LEFT JOIN LATERAL (
        SELECT * FROM transfers WHERE wallet_id = w.id ORDER BY wallet_seq DESC LIMIT 1
    ) t ON true
    WHERE (w.seq, w.available, w.held, w.debt, w.head_hash) IS DISTINCT FROM
          (coalesce(t.wallet_seq, 0), coalesce(t.available_after, 0), coalesce(t.held_after, 0), coalesce(t.debt_after, 0),
           coalesce(t.hash, ''::bytea))
UNION ALL
SELECT 'grant moves', 'transfer ' || t.id, 'its grant moves do not add up to its amount'
    FROM transfers t LEFT JOIN moved m ON m.transfer_id = t.id
    WHERE (coalesce(m.available, 0), coalesce(m.held, 0)) IS DISTINCT FROM (
        CASE 'available' WHEN t.credit_account THEN t.amount WHEN t.debit_account THEN -t.amount ELSE 0 END,
        CASE 'held' WHEN t.credit_account THEN t.amount WHEN t.debit_account THEN -t.amount ELSE 0 END)
UNION ALL
SELECT 'grant', 'grant ' || g.id, 'its amount, or what remains of it, is not what its moves add up to'
    FROM grants g LEFT JOIN granted m ON m.grant_id = g.id
    WHERE (g.amount, g.remaining, g.held) IS DISTINCT FROM (m.amount, m.remaining, m.held)
UNION ALL
SELECT 'stray moves', 'grant ' || grant_id, 'a transfer of another wallet moved it'
    FROM granted WHERE strays > 0
UNION ALL
SELECT 'grants of wallet', 'wallet ' || w.id, 'its grants do not add up to its balance'
    FROM wallets w LEFT JOIN per_wallet p ON p.wallet_id = w.id
    WHERE (w.available, w.held) IS DISTINCT FROM (coalesce(p.available, 0), coalesce(p.held, 0))
UNION ALL
SELECT 'reversed', 'grant ' || g.id, 'what is reversed of it is not what its reversals and restores add up to'
    FROM grants g LEFT JOIN taken_back t ON t.reference_id = g.id::text
    WHERE g.reversed <> coalesce(t.reversed, 0)
UNION ALL
SELECT 'hold', 'hold ' || h.id, 'what is reserved and captured of it is not what its draws add up to'
    FROM holds h LEFT JOIN drawn d ON d.hold_id = h.id
    WHERE (h.reserved, h.captured) IS DISTINCT FROM (coalesce(d.reserved, 0), coalesce(d.captured, 0))
UNION ALL
SELECT 'hold transfers', 'hold ' || h.id, 'its transfers do not place, capture and release what it says'
    FROM holds h LEFT JOIN per_hold p ON p.id = h.id
    WHERE (p.placed, p.captured, p.released, p.strays) IS DISTINCT FROM (
        h.amount, h.captured, CASE h.state WHEN 'placed' THEN 0 ELSE h.amount - h.captured END, 0)
UNION ALL
SELECT 'draw', 'draw ' || d.id, 'what it captured, or ran over, is not what its transfers say'
    FROM draws d LEFT JOIN per_draw p ON p.draw_id = d.id
    WHERE d.captured <> coalesce(p.captured, 0)
       OR d.overrun <> coalesce(p.overrun, 0) AND (d.state = 'captured' OR d.overrun <> 0)
UNION ALL
SELECT 'receipt', 'receipt ' || r.id, 'what it says was charged, or ran over, is not what its lines or its transfers say'
    FROM receipts r LEFT JOIN (
        SELECT reference_id, coalesce(sum(amount) FILTER (WHERE kind = 'hold_captured'), 0) AS charged,
               coalesce(sum(amount) FILTER (WHERE kind = 'overrun'), 0) AS overrun
        FROM booked WHERE kind IN ('hold_captured', 'overrun') GROUP BY reference_id
    ) b ON b.reference_id = r.id::text
    WHERE (r.charged, r.overrun) IS DISTINCT FROM (coalesce(b.charged, 0), coalesce(b.overrun, 0))
       OR r.charged <> (SELECT coalesce(sum((line ->> 'amount')::bigint), 0) FROM jsonb_array_elements(r.body -> 'lines') line)
UNION ALL
SELECT 'limit', 'limit ' || c.limit_id, 'what it says is reserved is not what its open draws reserve'
    FROM spend_counters c LEFT JOIN (
        SELECT l.limit_id, l.period_from, sum(d.amount) AS reserved
        FROM draw_limits l JOIN draws d ON d.id = l.draw_id WHERE d.state = 'open' GROUP BY l.limit_id, l.period_from
    ) o USING (limit_id, period_from)
    WHERE c.reserved <> coalesce(o.reserved, 0)
UNION ALL
SELECT 'stray transfer', 'transfer ' || id, 'it is about a hold, a draw or a call that does not exist'
    FROM booked b WHERE hold_id IS NULL AND NOT (kind = 'overrun' AND EXISTS (
        SELECT FROM receipts r WHERE r.id::text = b.reference_id))
UNION ALL
SELECT 'kept of grant', 'hold ' || h.id, 'it took more of grant ' || k.grant_id || ' than it held, or ended and kept some of it'
    FROM kept k JOIN holds h ON h.id = k.hold_id
    WHERE k.held < 0 OR (h.state <> 'placed' AND k.held <> 0)
UNION ALL
SELECT 'holds of wallet', 'wallet ' || w.id, 'what its open holds keep does not add up to what it holds'
    FROM wallets w LEFT JOIN (
        SELECT wallet_id, sum(amount - captured) AS held FROM holds WHERE state = 'placed' GROUP BY wallet_id
    ) p ON p.wallet_id = w.id
    WHERE w.held <> coalesce(p.held, 0)
