-- Holds and their draws: all that was placed was captured, released or is still held.
WITH booked AS (
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
SELECT 'hold' AS check, 'hold ' || h.id AS row, 'what is reserved and captured of it is not what its draws add up to' AS detail
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
