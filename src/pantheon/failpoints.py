"""Places at which the tests kill this process, to prove that whatever was under way is finished after the next start.

`reach("event.inserted")` does nothing unless the process was started with FAILPOINT=event.inserted, or with
FAILPOINT=event.inserted:3 for the third time that it comes there. It is no setting and stands in no document: unless
the environment says APP_ENV=local or test too, it means nothing.
"""

import os
import signal
from functools import cache
from itertools import count

_times = count(1)


def reach(name: str) -> None:
    armed, time = _armed()
    if name == armed and next(_times) == time:
        # Not an exit: nothing is cleaned up, nothing is answered, as when the power fails.
        os.kill(os.getpid(), signal.SIGKILL)


@cache
def _armed() -> tuple[str, int]:
    told = os.environ.get("FAILPOINT", "") if os.environ.get("APP_ENV") in ("local", "test") else ""
    name, _, time = told.partition(":")
    return name, int(time or 1)
