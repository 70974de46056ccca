-- The chain: each transfer follows from the one before it, and each wallet is what its last transfer left.
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
