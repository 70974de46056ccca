"""Money out: what a model call costs, and whether it may be made."""
