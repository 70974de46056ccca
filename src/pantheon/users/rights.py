"""What a user, and what an API key, may do. Standard library only: the command line shows it before it loads more."""

from enum import StrEnum


class Role(StrEnum):
    USER = "user"
    ANALYST = "analyst"
    """Reads what admins see."""
    OWNER = "owner"
    """Changes it too."""


class Scope(StrEnum):
    WALLET_READ = "wallet:read"
    WALLET_TOP_UP = "wallet:top_up"
    USAGE_READ = "usage:read"
    WORKSPACE = "workspace"
    MODELS_CALL = "models:call"
    ADMIN = "admin"
