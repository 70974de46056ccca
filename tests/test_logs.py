import logging
from typing import Any

import pytest
import structlog

from pantheon import logs

SECRETS = [
    "sk_live_51Habcdefghijk",
    "rk_test_51Habcdefghijk",
    "whsec_0123456789abcdef",
    "pk_0123456789abcdefgh",
    "ps_0123456789abcdefgh",
    "pi_3Nabc_secret_xyz123",
    "sk-or-v1-0123456789abcdef",
    "sk-proj-0123_456789abcdef",
    "tvly-dev-0123456789abcdef",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("place", [lambda s: s, lambda s: f"before {s} after", lambda s: {"k": [s, (s,)]}])
def test_secrets_are_struck_out_wherever_they_stand(secret: str, place: Any) -> None:
    assert secret not in str(logs.redact(None, "info", {"event": "x", "value": place(secret)}))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abc.def.ghi", "abc.def"),
        ("postgresql://app:hunter2@db/pantheon", "hunter2"),
        ("https://hunter2@sentry.example/1", "hunter2"),
    ],
)
def test_tokens_and_passwords_in_addresses_are_struck_out(text: str, kept: str) -> None:
    assert kept not in str(logs.redact(None, "info", {"event": text}))


def test_what_is_no_secret_stays() -> None:
    event = {"event": "top_up_credited", "payment_id": "pi_3Nabc", "amount": 1000, "url": "http://127.0.0.1:8000/x@y"}

    assert logs.redact(None, "info", dict(event)) == event


def test_lines_of_libraries_are_redacted_too(capsys: pytest.CaptureFixture[str]) -> None:
    handlers, config = logging.getLogger().handlers[:], structlog.get_config()
    try:
        logs.configure("json")
        logging.getLogger("some.library").warning("using %s", SECRETS[0])
        structlog.get_logger().warning("ours", key=SECRETS[1])
    finally:
        logging.getLogger().handlers[:] = handlers
        structlog.configure(**config)

    written = capsys.readouterr().err
    assert logs.STRUCK_OUT in written
    assert "using" in written
    assert "ours" in written
    assert all(secret not in written for secret in SECRETS)
