"""Background jobs: the thin shell around use cases that nobody waits for."""
