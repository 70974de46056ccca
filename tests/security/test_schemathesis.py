"""Requests made up from the API's own description, valid and not: none of them breaks the server."""

import asyncio

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis.checks import not_a_server_error

from pantheon.users.rights import Role
from tests.installation import Installation

# The server runs in this process, and what it draws meanwhile is none of Hypothesis's business.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


async def _no_operation_breaks(installation: Installation, headers: dict[str, str], *, examples: int) -> None:
    document = (await installation.client.get("/api/v1/openapi.json")).json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=installation.url)
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        # They would end the session that the rest is tried with.
        if operation.path.endswith("/sign-out") or (operation.method, operation.path[-9:]) == ("delete", "/users/me"):
            continue
        tried += 1

        @hypothesis.settings(
            max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @hypothesis.given(case=operation.as_strategy())
        def breaks_nothing(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, checks=[not_a_server_error], timeout=30)

        await asyncio.to_thread(breaks_nothing)
    assert tried > 15


@pytest.mark.parametrize("signed_in", [True, False])
async def test_no_request_that_the_description_allows_breaks_the_server(
    installation: Installation, signed_in: bool
) -> None:
    headers = (await installation.person(Role.OWNER)).headers if signed_in else {}

    await _no_operation_breaks(installation, headers, examples=2 if signed_in else 1)


@pytest.mark.prove
@pytest.mark.timeout(600)
async def test_nor_do_many_more_of_them(installation: Installation) -> None:
    await _no_operation_breaks(installation, (await installation.person(Role.OWNER)).headers, examples=100)
