"""Where a running sandbox is found: `sandbox.json` in the installation's home, for its owner's eyes only."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE_NAME = "sandbox.json"


@dataclass(frozen=True, kw_only=True)
class Address:
    url: str
    secret_key: str = field(repr=False)
    publishable_key: str
    webhook_secret: str = field(repr=False)


def write_address(home: Path, address: Address) -> Path:
    """Replaces the file as a whole, so that nobody reads half of it."""
    # Where a database was given, nothing has made the home before.
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = home / FILE_NAME
    draft = home / f".{FILE_NAME}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(address), file, indent=2)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return path


def read_address(home: Path) -> Address | None:
    """The address, or None where no sandbox has been started from this home."""
    try:
        return Address(**json.loads((home / FILE_NAME).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
