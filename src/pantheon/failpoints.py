"""Places at which the tests kill this process, to prove that whatever was under way is finished after the next start.

`reach("event.inserted")` does nothing unless the process was started with FAILPOINT=event.inserted. It is no setting
and stands in no document: unless the environment says APP_ENV=local or test too, it means nothing.
"""

import os
import signal
from functools import cache


def reach(name: str) -> None:
    if name == _armed():
        # Not an exit: nothing is cleaned up, nothing is answered, as when the power fails.
        os.kill(os.getpid(), signal.SIGKILL)


@cache
def _armed() -> str | None:
    return os.environ.get("FAILPOINT") if os.environ.get("APP_ENV") in ("local", "test") else None
