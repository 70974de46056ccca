"""Stands in for Stripe: the part of its HTTP API that Pantheon uses, stateful, on loopback, with faults on request.

The official SDK talks to it exactly as to Stripe. `make run` without a Stripe key uses it, and so does every test of
payments. It imports nothing of the application but time and money rules, so that no mistake is made on both sides.

    async with Sandbox(database=path, base_url=…, webhook_url=…, webhook_secrets=[…]) as sandbox:
        ...  # serve create_sandbox_app(sandbox); webhooks are delivered until the block is left
"""

from pantheon.payments.stripe.sandbox.app import create_sandbox_app
from pantheon.payments.stripe.sandbox.cards import CARD_NUMBERS
from pantheon.payments.stripe.sandbox.delivery import Endpoint
from pantheon.payments.stripe.sandbox.events import Crafted
from pantheon.payments.stripe.sandbox.service import Sandbox
from pantheon.payments.stripe.sandbox.switches import Switch

__all__ = ["CARD_NUMBERS", "Crafted", "Endpoint", "Sandbox", "Switch", "create_sandbox_app"]
