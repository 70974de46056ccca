"""pgbench, as PostgreSQL ships it, calling the ledger's functions one by one: each call is a transaction of its own."""

import asyncio
import os
import re
import tempfile
import time
from pathlib import Path

from benchmarks.database import BenchDatabase, connection_parts
from benchmarks.rounds import Sample
from pantheon.db.embedded import EmbeddedServer

_COMPLETED = re.compile(r"number of transactions actually processed: (\d+)")
_RATE = re.compile(r"tps = ([\d.]+)")

# A hold, a draw and its capture in full, which also ends the hold: two transfers. Ids rise with time, as a UUIDv7 does.
_PAIR = """
\\set n :n + 1
\\set wallet random(1, :wallets)
SELECT code FROM ledger_place_hold(('00000002-0000-7000-8000-' || lpad(to_hex(:wallet::int), 12, '0'))::uuid,
    {id}, 1000::bigint, now() + interval '1 hour');
SELECT code FROM ledger_draw({id}, {id}, 1000::bigint);
SELECT code FROM ledger_capture({id}, 1000::bigint);
""".replace(
    "{id}",
    "(lpad(to_hex(:run::int), 8, '0') || lpad(to_hex(:n::int), 8, '0')"
    " || lpad(to_hex(:client_id::int), 16, '0'))::uuid",
)


async def pairs(
    running: EmbeddedServer, database: BenchDatabase, *, clients: int, wallets: int, seconds: float
) -> Sample:
    """How many pairs of hold and capture `clients` connections make; `wallets=1` is one hot wallet."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "pair.sql")
        script.write_text(_PAIR)
        variables = {"n": 0, "wallets": wallets, "run": int(time.time() * 10) & 0x7FFFFFFF}
        process = await asyncio.create_subprocess_exec(
            running.bin_dir / "pgbench",
            *("-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(max(1, round(seconds)))),
            *("-f", str(script)),
            *(argument for name, value in variables.items() for argument in ("-D", f"{name}={value}")),
            env={"PATH": os.defpath, **connection_parts(database.app_url)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    counted, rate = _COMPLETED.search(out.decode()), _RATE.search(out.decode())
    if process.returncode != 0 or counted is None:
        raise RuntimeError(f"pgbench failed with {process.returncode}:\n{err.decode()}")
    # Where no client came to the end of a pair there is no rate; one pair keeps the ratios computable.
    return Sample(int(counted[1]), int(counted[1]) / float(rate[1])) if rate else Sample(1, seconds)
