"""The part of OpenAI's API through which any client can spend from a wallet: requests, answers, errors."""
