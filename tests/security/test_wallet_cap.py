"""S21: a payment for a wallet that can hold no more is neither lost nor tried for ever."""

from uuid import uuid4

from structlog.testing import capture_logs

from pantheon.ledger import post
from tests.installation import Installation
from tests.payments.events import event_for, signed, succeeded


async def test_a_paid_top_up_of_a_full_wallet_goes_to_review(installation: Installation) -> None:
    """T-209."""
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    (wallet,) = installation.rows("SELECT id FROM wallets WHERE user_id = %s", ada.id)
    for _ in range(9):
        async with installation.runtime.database.transaction() as tx:
            posting = await post.adjust(
                tx, wallet_id=wallet["id"], adjustment_id=uuid4(), amount=10**18, actor=None, note="fill"
            )
            assert posting.code == "ok"
    body = event_for(succeeded(installation.sandbox.payments.find(top_up_id)))

    with capture_logs() as logged:
        await installation.post_event(body, signed(body))
        await installation.becomes(ada, top_up_id, "review")

    assert ("payment_in_review", "wallet_full") in [(line["event"], line.get("reason")) for line in logged]
    assert await installation.balance(ada) == "9000000000"
    assert installation.rows("SELECT review_reason FROM payments") == [{"review_reason": "wallet_full"}]
