"""People: accounts, and how they prove who they are. One verb is one file.

Secrets (passwords, session tokens, links, keys) are shown once and stored as hashes only. An act on somebody else's
account leaves a row in the audit log, in the same transaction.
"""
