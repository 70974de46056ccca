"""Everything that knows Stripe: its objects, its API, its webhooks, and the sandbox that stands in for it."""
