-- Receipts and limits, against the transfers and the draws that they are about.
SELECT 'receipt' AS check, 'receipt ' || r.id AS row, 'what it says was charged, or ran over, is not what its lines or its transfers say' AS detail
    FROM receipts r LEFT JOIN (
        SELECT reference_id, coalesce(sum(amount) FILTER (WHERE kind = 'hold_captured'), 0) AS charged,
               coalesce(sum(amount) FILTER (WHERE kind = 'overrun'), 0) AS overrun
        FROM transfers WHERE kind IN ('hold_captured', 'overrun') GROUP BY reference_id
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
