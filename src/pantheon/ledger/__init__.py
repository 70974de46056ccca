"""The books. The only writer of wallets, transfers and grants; every change goes through the functions in `sql/`."""
