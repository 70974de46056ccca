"""Model providers: what is asked of them and what they answer. Knows nothing of wallets, turns or a database."""
