"""What owners and operators do with credits that are there: look, grant, adjust."""
