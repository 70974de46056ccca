"""Stripe's door. No sign-in and no model of the body: the signature over the raw bytes is the proof."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel

from pantheon.api.dependencies import WithRuntime, socket_peer
from pantheon.payments.receive_event import Received, receive_event

PATH = "/webhooks/stripe"
MAX_BODY_BYTES = 512 * 1024

router = APIRouter(tags=["webhooks"])


class WebhookAnswer(BaseModel):
    status: Received


@router.post(PATH)
async def post_stripe_event(
    request: Request, runtime: WithRuntime, signature: Annotated[str | None, Header(alias="Stripe-Signature")] = None
) -> WebhookAnswer:
    """Stores an event durably, then answers. The money follows in the background."""
    received = await receive_event(
        runtime.inbox,
        runtime.settings,
        body=await request.body(),
        signature=signature,
        peer=socket_peer(request),
    )
    return WebhookAnswer(status=received)
