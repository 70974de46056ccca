"""Stripe's door. No sign-in and no model of the body: the signature over the raw bytes is the proof."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from pantheon.api.dependencies import socket_peer
from pantheon.payments.receive_event import Received, receive_event
from pantheon.runtime import Runtime

PATH = "/webhooks/stripe"
MAX_BODY_BYTES = 512 * 1024

_SIGNATURE = "Stripe-Signature"

router = APIRouter(tags=["webhooks"])


class WebhookAnswer(BaseModel):
    status: Received


_ANSWERS = {received: WebhookAnswer(status=received).model_dump_json() for received in Received}


@router.post(
    PATH,
    response_model=WebhookAnswer,
    openapi_extra={
        "parameters": [
            {
                "name": _SIGNATURE,
                "in": "header",
                "required": False,
                "schema": {"anyOf": [{"type": "string"}, {"type": "null"}], "title": _SIGNATURE},
            }
        ]
    },
)
async def post_stripe_event(request: Request) -> Response:
    """Stores an event durably, then answers. The money follows in the background."""
    # Many may come at once, and what FastAPI does for a parameter or a model takes longer than to store an event.
    runtime: Runtime = request.app.state.runtime
    received = await receive_event(
        runtime.inbox,
        runtime.settings,
        body=await request.body(),
        signature=request.headers.get(_SIGNATURE),
        peer=socket_peer(request),
    )
    return Response(_ANSWERS[received], media_type="application/json")
