"""Money in: `create_top_up` → Stripe → `receive_event` (store) → `handle_events` (facts) → `fulfil` (credits).

A row of ours exists before Stripe hears of a payment; an event only says that something may have changed; credits
follow from the facts about the payment and the price that was stored with the top-up.
"""
