"""An Idempotency-Key makes a call once, however often it is sent."""

import asyncio
from datetime import timedelta
from typing import Any

from pantheon.turns.admit_call import LONGEST_CALL
from tests.gateway.conftest import SHARED, Door, NewDoor, asked
from tests.installation import eventually
from tests.models.scripted_provider import Script, answered, whole

pytestmark = SHARED


async def test_whoever_asks_again_gets_the_same_answer_and_pays_once(door: Door, new_door: NewDoor) -> None:
    first = await door.post(asked(), Idempotency_Key="k-1")
    door.plays(whole("Something else."))
    second = await door.post(asked(), Idempotency_Key="k-1")

    assert (first.status_code, second.status_code) == (200, 200)
    assert second.content == first.content
    assert second.headers["x-pantheon-receipt"] == first.headers["x-pantheon-receipt"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert (door.provider.asked, len(door.receipts)) == ([], 1)

    other = await door.post(asked(temperature=1), Idempotency_Key="k-1")
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    # A key is its owner's: another's is another key.
    stranger = await new_door()
    assert (await stranger.post(asked(), Idempotency_Key="k-1")).content != first.content


async def test_while_the_first_is_under_way_others_wait_and_its_caller_may_leave(door: Door) -> None:
    go_on = asyncio.Event()
    [text] = whole("Late.").parts
    door.plays(Script([go_on, text]))
    first = asyncio.create_task(door.post(asked(), Idempotency_Key="k-2"))

    async def provider_asked() -> bool:
        return bool(door.provider.asked)

    await eventually(provider_asked)
    second = await door.post(asked(), Idempotency_Key="k-2")
    assert (second.status_code, second.json()["error"]["code"]) == (409, "idempotency_in_progress")
    assert second.headers["retry-after"] == "2"

    # The answer is kept for another try, so it is not stopped.
    first.cancel()
    assert (await door.post(asked(), Idempotency_Key="k-2")).status_code == 409
    go_on.set()

    async def is_kept() -> bool:
        return (await door.post(asked(), Idempotency_Key="k-2")).status_code == 200

    await eventually(is_kept)
    third = await door.post(asked(), Idempotency_Key="k-2")
    assert third.json()["choices"][0]["message"]["content"] == "Late."
    assert len(door.receipts) == 1


async def test_what_failed_can_be_tried_again_under_its_key(door: Door) -> None:
    door.plays(answered({}, 400))
    assert (await door.post(asked(), Idempotency_Key="k-3")).status_code == 400
    door.plays(whole("Now."))

    assert (await door.post(asked(), Idempotency_Key="k-3")).status_code == 200


async def test_a_key_that_a_dead_process_left_behind_is_free_when_its_call_is_over(door: Door) -> None:
    async def status(age: timedelta) -> Any:
        await door.post(asked(), Idempotency_Key="k-4")
        door.installation.execute(
            "UPDATE idempotency_keys SET answer = NULL, created_at = now() - %s WHERE (user_id, key) = (%s, 'k-4')",
            age,
            door.metering.user_id,
        )
        return (await door.post(asked(), Idempotency_Key="k-4")).status_code

    assert await status(LONGEST_CALL - timedelta(minutes=1)) == 409
    door.installation.execute("DELETE FROM idempotency_keys WHERE user_id = %s", door.metering.user_id)
    assert await status(LONGEST_CALL + timedelta(minutes=1)) == 200


async def test_a_stream_is_not_kept_and_says_so(door: Door) -> None:
    answer = await door.post(asked(stream=True), Idempotency_Key="k-5")

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream")
    assert door.calls == []
    bad = await door.post(asked(), Idempotency_Key="a b")
    assert bad.status_code == 422
