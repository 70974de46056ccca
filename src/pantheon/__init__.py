"""Pantheon: a workspace for teams of AI agents, paid with prepaid credits."""

from importlib.metadata import version

VERSION = version("pantheon")
