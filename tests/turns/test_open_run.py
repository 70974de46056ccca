"""The hold of a whole piece of work, where nobody is told whether it was placed."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import psycopg
import pytest

from pantheon import clock
from pantheon.errors import DatabaseBusyError
from pantheon.ledger.lanes import Lanes
from pantheon.models.providers import Providers
from pantheon.turns.meter import Meter
from tests.installation import Installation, eventually
from tests.turns.metering import metering

Install = Callable[..., AbstractAsyncContextManager[Installation]]


async def test_a_hold_that_came_too_late_for_whoever_asked_goes_back(install: Install, app_url: str) -> None:
    async with (
        metering(install, worker=False, payments=False) as m,
        Lanes(app_url, patience_seconds=1) as lanes,
        Providers(m.installation.runtime.settings) as providers,
    ):
        meter = Meter(m.installation.runtime.settings, m.installation.runtime.database, lanes, providers)
        with psycopg.connect(m.installation.owner_url) as locker:
            locker.execute("SELECT FROM wallets WHERE id = %s FOR UPDATE", [m.wallet_id])
            with pytest.raises(DatabaseBusyError):
                await meter.open_run(m.user_id, cap=100, least=10, expires_at=clock.now() + timedelta(minutes=5))

        async def is_given_back() -> bool:
            states = m.installation.rows("SELECT state FROM holds WHERE wallet_id = %s", m.wallet_id)
            return [row["state"] for row in states] == ["released"]

        await eventually(is_given_back)
        assert m.balances == (10**6, 0)
        await meter.close()
