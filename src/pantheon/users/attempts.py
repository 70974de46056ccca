"""How often somebody may try a password: each attempt is counted before it is checked, and forgiven if it succeeds.

Counting first is what makes the limit hold for attempts at the same time. The transaction that counts must be one of
its own: it has to commit although the attempt fails.
"""

import ipaddress
from uuid import UUID

from pantheon.db import rate_limit
from pantheon.db.engine import Tx

_WINDOW_SECONDS = 3600


def address_bucket(ip: str | None) -> str:
    """One bucket for an IPv4 address, and for the /64 that a single IPv6 customer has to choose from."""
    try:
        address = ipaddress.ip_address(ip or "")
    except ValueError:
        return "sign_in:address:unknown"
    network = ipaddress.ip_network((address, 64 if address.version == 6 else 32), strict=False)
    return f"sign_in:address:{network}"


def email_bucket(email: str) -> str:
    """Counts for addresses without an account as well: the answer must not depend on whether there is one."""
    return f"sign_in:email:{email}"


def user_bucket(user_id: UUID) -> str:
    return f"sign_in:user:{user_id}"


async def count(tx: Tx, *buckets: str, limit: int) -> None:
    """Raises TooManyRequestsError. Addresses come before accounts everywhere, so that no two callers deadlock."""
    for bucket in buckets:
        await rate_limit.hit(tx, bucket, limit=limit, window_seconds=_WINDOW_SECONDS)


async def forgive(tx: Tx, *buckets: str) -> None:
    for bucket in buckets:
        await rate_limit.take_back(tx, bucket, window_seconds=_WINDOW_SECONDS)
