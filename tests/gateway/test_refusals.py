"""What is refused, and how: the official client raises the errors that it raises for OpenAI itself."""

import asyncio
import json
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from pantheon.ledger import post
from pantheon.users.rights import Scope
from tests.gateway.conftest import SHARED, Door, NewDoor, asked
from tests.models.scripted_provider import DONE, Script, answered, delta, event, streamed, whole

pytestmark = SHARED


async def refused(
    door: Door, kind: type[openai.APIStatusError], client: AsyncOpenAI | None = None, **changes: Any
) -> Any:
    with pytest.raises(kind) as raised:
        await (client or door.openai).chat.completions.create(**asked(**changes))
    assert raised.value.response.headers["content-type"] == "application/json"
    return raised.value


async def test_a_key_must_be_good_and_allowed_to_call_models(door: Door, new_door: NewDoor) -> None:
    async with door.openai.with_options(api_key="pk_no-such-key") as stranger:
        error = await refused(door, openai.AuthenticationError, stranger)
    assert (error.code, error.type, error.body["message"]) == (
        "not_authenticated",
        "authentication_error",
        "Sign in or send a valid API key or token.",
    )
    assert error.response.headers["www-authenticate"] == "Bearer"

    reader = await new_door(Scope.WALLET_READ)
    error = await refused(reader, openai.PermissionDeniedError)
    assert (error.code, error.type) == ("forbidden", "permission_error")
    assert door.provider.asked == []


async def test_whoever_is_signed_in_may_call_as_well(door: Door) -> None:
    answer = await door.installation.client.post("/v1/chat/completions", json=asked(), headers=door.headers)

    assert answer.status_code == 200
    assert [call["api_key_id"] for call in door.calls] == [None]


async def test_without_credits_nobody_is_asked(new_door: NewDoor) -> None:
    door = await new_door(funds=5)
    door.plays(whole("x"))
    error = await refused(door, openai.APIStatusError, stream=True)

    assert error.status_code == 402
    assert (error.code, error.type, error.param) == ("insufficient_credits", "insufficient_quota", None)
    assert error.body["message"] == "Insufficient credits. Please top up your account."
    said = {name: error.body[name] for name in ("reason", "available", "limit_source", "top_up_url")}
    assert said == {
        "reason": "insufficient_credits",
        "available": "0.000000005",
        "limit_source": "wallet",
        "top_up_url": f"{door.installation.url}/wallet",
    }
    assert error.body["required"] > said["available"]
    assert (door.provider.asked, door.balances) == ([], (5, 0))


async def test_a_frozen_wallet_pays_for_nothing(door: Door) -> None:
    door.installation.execute("UPDATE wallets SET state = 'frozen' WHERE id = %s", door.metering.wallet_id)

    assert (await refused(door, openai.PermissionDeniedError)).code == "wallet_frozen"


async def test_a_limit_says_whose_it_is(door: Door) -> None:
    async with door.installation.runtime.database.transaction() as tx:
        await post.set_spend_limit(
            tx,
            wallet_id=door.metering.wallet_id,
            limit_id=door.metering.user_id,
            scope="model",
            scope_id="scripted",
            period="day",
            amount=10,
        )
    error = await refused(door, openai.APIStatusError)

    assert (error.status_code, error.body["limit_source"], error.body["limit_period"]) == (402, "model", "day")


async def test_a_model_that_cannot_be_called_is_not_found(door: Door) -> None:
    """`deepseek` has a price and no provider in this installation."""
    for name in ("gpt-99", "deepseek", "a\0b", "x" * 5_000, "ü", ""):
        error = await refused(door, openai.NotFoundError, model=name)
        assert error.code == "model_not_found"

    assert door.balances == (10**6, 0)
    assert door.installation.rows("SELECT FROM holds WHERE wallet_id = %s", door.metering.wallet_id) == []


async def test_a_rate_limit_says_when_to_come_again(door: Door) -> None:
    limit = door.installation.runtime.settings.calls_max_open
    door.installation.execute(
        "INSERT INTO calls (id, user_id, wallet_id, hold_id, model_alias, rate_card_version, enforcement,"
        " input_counted, max_output, started_at, expires_at)"
        " SELECT gen_random_uuid(), %s, %s, gen_random_uuid(), 'scripted', 2, 'enforce', 1, 1, now(),"
        " now() + interval '10 minutes' FROM generate_series(1, %s)",
        door.metering.user_id,
        door.metering.wallet_id,
        limit,
    )
    error = await refused(door, openai.RateLimitError)

    assert (error.code, error.type) == ("too_many_requests", "rate_limit_error")
    assert error.response.headers["retry-after"] == "1"
    door.installation.execute("UPDATE calls SET state = 'refused', ended_at = now() WHERE state = 'open'")


FAILURES = [
    (answered({"error": {"message": "prompt-text"}}, 429, retry_after="30"), 503, "provider_rate_limited"),
    (answered({}, 500, retry_after="30"), 503, "provider_unavailable"),
    (answered({}, 504), 504, "provider_timed_out"),
    (answered({"error": {"code": "bad_thing", "message": "prompt-text"}}, 400), 400, "provider_rejected"),
    (answered({}, 401), 503, "provider_key_refused"),
]
NONE_AT_ALL = [Script([b"<html>"], headers={"retry-after": "30"}), answered({"choices": []})]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_failure_of_a_provider_costs_nothing(door: Door, stream: bool) -> None:
    none_at_all = (502, "stream_cut") if stream else (503, "provider_unavailable")
    for script, *expected in [*FAILURES, *((script, *none_at_all) for script in NONE_AT_ALL)]:
        door.plays(script)
        error = await refused(door, openai.APIStatusError, stream=stream)

        assert [error.status_code, error.code] == expected
        assert "prompt-text" not in error.response.text
    await door.ended()
    assert door.balances == (10**6, 0)


async def test_a_stream_that_breaks_says_so_and_is_paid_as_far_as_it_came(door: Door) -> None:
    door.plays(Script([delta("abc"), delta("def"), None]))
    stream = await door.openai.chat.completions.create(**asked(stream=True))
    seen = []
    with pytest.raises(openai.APIError) as raised:
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content)

    assert seen == ["abc", "def"]
    [receipt] = door.receipts
    body: Any = raised.value.body
    assert (body["code"], body["type"], body["receipt_id"]) == ("stream_cut", "server_error", str(receipt["id"]))
    assert receipt["body"]["usage"]["output"] == 2
    assert receipt["body"]["quality"] == "estimated"

    raw = await door.post(asked(stream=True))
    assert raw.text.split("\n\n")[-2].startswith('data: {"error":')
    assert "[DONE]" not in raw.text


async def test_an_answer_without_usage_is_counted_by_us_and_says_so(door: Door) -> None:
    for stream in (False, True):
        door.plays(streamed("abcdef", usage=None) if stream else whole("abcdef", None))
        answer = await door.post(
            asked(stream=stream, **({"stream_options": {"include_usage": True}} if stream else {}))
        )
        usage = json.loads(answer.text.split("\n\n")[-3][6:])["usage"] if stream else answer.json()["usage"]

        assert (usage["completion_tokens"], usage["cost_details"]) == (2, {"quality": "estimated"})
        assert answer.json if stream else answer.json()["usage"]["total_tokens"] == usage["prompt_tokens"] + 2


async def test_whatever_is_wrong_is_said_as_openai_says_it(door: Door) -> None:
    client, headers = door.installation.client, {"Authorization": f"Bearer {door.key}"}

    async def error(method: str, path: str, status: int, **request: Any) -> Any:
        answer: httpx2.Response = await client.request(method, path, headers=headers, **request)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
        assert answer.headers["x-content-type-options"] == "nosniff"
        found = answer.json()
        assert list(found) == ["error"]
        assert {"message", "type", "param", "code"} <= set(found["error"])
        return found["error"]

    unknown = await error("POST", "/v1/responses", 404, json={"model": "demo", "input": "Hello"})
    assert (unknown["code"], "use chat completions" in unknown["message"]) == ("not_found", True)
    assert (await error("POST", "/v1", 404))["code"] == "not_found"
    assert (await error("GET", "/v1/chat/completions", 405))["type"] == "invalid_request_error"
    assert (await error("POST", "/v1/chat/completions", 400, content=b"{"))["code"] == "invalid_request"
    assert (await error("POST", "/v1/chat/completions", 400, content=b"[]"))["code"] == "invalid_request"
    assert (await error("POST", "/v1/chat/completions", 400, content=b'{"a":1,"a":2}'))["param"] is None
    assert (await error("POST", "/v1/chat/completions", 400, json=asked(web_search_options={})))["param"] == (
        "web_search_options"
    )
    large = await error("POST", "/v1/chat/completions", 413, content=b" " * (8 * 2**20 + 1))
    assert (large["code"], large["message"]) == (
        "request_too_large",
        "The request is too large: it may have at most 8388608 bytes.",
    )
    long = asked(messages=[{"role": "user", "content": "Hello there. " * 2_500}])
    assert (await error("POST", "/v1/chat/completions", 400, json=long))["code"] == "context_length_exceeded"
    # Elsewhere errors stay problem details.
    elsewhere = await client.get("/api/v1/no-such-thing")
    assert elsewhere.headers["content-type"] == "application/problem+json"


async def test_a_request_of_almost_eight_mebibytes_is_read(door: Door) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * (8 * 2**20 - 1_000)}}
    answer = await door.post(asked(messages=[{"role": "user", "content": [image]}]))

    assert answer.status_code == 200, answer.text


async def test_what_people_write_is_in_no_log(door: Door, capfd: pytest.CaptureFixture[str]) -> None:
    secret = "sesame-open-17"
    said: Any = {"messages": [{"role": "user", "content": secret}]}
    never = asyncio.Event()
    for script, changes in [
        (whole(secret), {}),
        (streamed(secret), {"stream": True}),
        (answered({"error": {"message": secret, "code": "bad"}}, 400), {}),
        (Script([event({"error": {"message": secret}})]), {"stream": True}),
        (Script([delta(secret), None]), {"stream": True}),
        (Script([b"not json " + secret.encode(), DONE]), {"stream": True}),
        (Script([never]), {"messages": secret, "temperature": secret}),
        (Script([never]), {"model": secret, secret: secret}),
    ]:
        door.plays(script)
        await door.post(asked(**(said | changes)))
    await door.ended()

    captured = capfd.readouterr()
    assert "route=/v1/chat/completions" in captured.out + captured.err
    assert secret not in captured.out + captured.err
