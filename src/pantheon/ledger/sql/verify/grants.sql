-- Grants: what remains of each, and which grants each transfer drew on.
WITH moved AS (
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
)
SELECT 'grant moves' AS check, 'transfer ' || t.id AS row, 'its grant moves do not add up to its amount' AS detail
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
