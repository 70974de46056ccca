"""SIGTERM lets what runs finish, in real processes that share nothing but the database."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from openai import APIError, AsyncOpenAI

from pantheon.api.server import bind, serving
from pantheon.runtime import open_runtime
from pantheon.users.create_api_key import create_api_key
from pantheon.users.rights import Scope
from pantheon.web.app import create_app
from tests.crash.processes import free_port
from tests.installation import NO_TLS, TEST, eventually
from tests.models.scripted_provider import DONE, Script, delta
from tests.turns.metering import ALIAS, HELLO
from tests.workspace.test_turns import Install, workplace

PROGRAM = Path(sys.executable).with_name("pantheon")
SECONDS = 30
BODY = b'{"email": "nobody@example.com"}'


@pytest.fixture
def port(app_url: str, tmp_path: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    process = subprocess.Popen(
        [PROGRAM, "serve", "--no-worker", "--port", str(port)],
        env={
            "PATH": os.defpath,
            "APP_ENV": "staging",
            "PUBLIC_URL": "https://pantheon.example.com",
            "SECRET_KEYS": "correct-horse-battery-staple-0123456789",
            "DATABASE_URL": app_url,
        },
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield port, process
    finally:
        process.kill()
        process.wait(SECONDS)


def _await_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/api/v1/ready").status_code == 200:
                return
        except httpx2.TransportError:
            assert process.poll() is None, "it ended"
        assert time.monotonic() < deadline, "it does not get ready"
        time.sleep(0.02)


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=SECONDS).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_request_that_runs_is_answered_and_nobody_else_is_let_in(
    port: tuple[int, subprocess.Popen[bytes]],
) -> None:
    number, process = port
    _await_ready(number, process)
    with socket.create_connection(("127.0.0.1", number), timeout=SECONDS) as running:
        running.sendall(
            b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % len(BODY)
        )
        # The server asks for the body, so the request is in its hands.
        assert running.recv(1024).startswith(b"HTTP/1.1 100")
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + SECONDS
        while not _refuses(number):
            assert time.monotonic() < deadline, "it still accepts"
            time.sleep(0.01)
        assert process.poll() is None

        running.sendall(BODY)
        answer = running.recv(65536)

    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 503")), answer
    assert process.wait(SECONDS) == 0


async def test_streams_that_go_on_for_long_are_ended_in_order_settled_and_told(install: Install) -> None:
    async with workplace(install, Script([delta("I say "), delta("this"), asyncio.Event()]), funds=10**12) as w:
        m, runtime = w.m, w.m.installation.runtime
        session, other_session = await w.room("roundtable", "ada"), await w.room("roundtable", "bob")
        _, key = await create_api_key(
            runtime.database, runtime.settings, user_id=m.user_id, name="x", scopes=[Scope.MODELS_CALL], actor=TEST
        )
        listener = bind("127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as openai,
            httpx2.AsyncClient(base_url=url, headers=m.headers, verify=NO_TLS, timeout=SECONDS) as client,
        ):
            turns = f"/api/v1/sessions/{session}/turns", f"/api/v1/sessions/{other_session}/turns"
            read: list[str] = []

            async def read_completion() -> None:
                stream = await openai.chat.completions.create(model=ALIAS, messages=HELLO, stream=True)  # type: ignore[call-overload]
                async for chunk in stream:
                    read.append(chunk.choices[0].delta.content)

            async def all_speak() -> bool:
                told = m.installation.rows("SELECT FROM turn_events WHERE data ->> 'text' = 'this'")
                return (len(told), read) == (2, ["I say ", "this"])

            async with serving(create_app(runtime), listener, drain_seconds=0.2, interrupt=runtime.interrupt):
                completion = asyncio.create_task(read_completion())
                streamed = asyncio.create_task(client.post(f"{turns[0]}/stream", json={"message": "Speak"}))
                waited = asyncio.create_task(client.post(turns[1], json={"message": "Speak"}))
                await eventually(all_speak)

            with pytest.raises(APIError) as told:
                await completion
            assert (told.value.code, read) == ("turn_interrupted", ["I say ", "this"])
            name, data = (await streamed).text.rstrip().splitlines()[-2:]
            end = json.loads(data.removeprefix("data: "))
            assert (name, end["code"], end["content"]) == ("event: turn_failed", "turn_interrupted", "I say this")
            answer = (await waited).json()
            assert (answer["status"], answer["assistant_output"]) == ("failed", "I say this")
        assert m.balances == (10**12 - sum(receipt["charged"] for receipt in m.receipts), 0)
        assert len(m.receipts) == 3 and all(receipt["charged"] for receipt in m.receipts)
        assert {receipt["body"]["stopped_by"] for receipt in m.receipts} == {"caller", "shutdown"}


async def test_whoever_follows_a_turn_of_another_process_is_let_go_and_the_turn_goes_on(install: Install) -> None:
    go_on = asyncio.Event()
    async with workplace(install, Script([delta("I say "), go_on, delta("this", "stop"), DONE])) as w:
        session = await w.room("roundtable", "ada")
        sending = asyncio.create_task(w.send(session, "Speak"))
        listener, seen = bind("127.0.0.1", 0), list[str]()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            open_runtime(w.m.installation.runtime.settings) as other,
            httpx2.AsyncClient(base_url=url, headers=w.headers, verify=NO_TLS, timeout=SECONDS) as client,
        ):

            async def follow() -> None:
                (turn,) = w.m.installation.rows("SELECT id FROM turns")
                async with client.stream("GET", f"/api/v1/turns/{turn['id']}/events") as answer:
                    async for line in answer.aiter_lines():
                        seen.append(line)

            async def is_said(where: str) -> bool:
                said = w.m.installation.rows("SELECT FROM turn_events WHERE event = 'step_delta'")
                return bool(said if where == "there" else "event: step_delta" in seen)

            async with serving(create_app(other), listener, drain_seconds=0.2, interrupt=other.interrupt):
                await eventually(lambda: is_said("there"))
                following = asyncio.create_task(follow())
                await eventually(lambda: is_said("here"))
            await following
        go_on.set()
        assert "event: turn_completed" not in seen
        assert ((await sending).json())["assistant_output"] == "I say this"
