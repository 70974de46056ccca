"""E-mail addresses as they are stored and compared."""

import re
import unicodedata

from pantheon.errors import InvalidInputError

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


def normalise_email(text: str) -> str:
    """The one spelling of an address. Raises InvalidInputError for what cannot be one, whether or not it exists."""
    address = unicodedata.normalize("NFC", text.strip().lower())
    # What cannot be printed is refused: two addresses that look the same would be two accounts.
    if not address.isprintable() or len(address) > 254 or not _ADDRESS.fullmatch(address):
        raise InvalidInputError("email must be an e-mail address such as name@example.com")
    return address
