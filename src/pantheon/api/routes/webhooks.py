"""Stripe's door. No sign-in and no model of the body: the signature over the raw bytes is the proof."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel

from pantheon.api.dependencies import WithRuntime
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
    """Stores an event durably, then answers. The money follows in a job."""
    received = await receive_event(
        runtime.database,
        runtime.settings,
        body=await request.body(),
        signature=signature,
        peer=_socket_peer(request),
    )
    return WebhookAnswer(status=received)


def _socket_peer(request: Request) -> str | None:
    """Whose socket it is. A forwarded request comes from somewhere else, so it has no peer that could be trusted."""
    if "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return None
    return request.client.host if request.client else None
