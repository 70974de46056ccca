-- The plain tables on which the patterns of others are measured. Written for this benchmark; amounts are small integers.

-- A wallet with a history: read-modify-write, SELECT … FOR UPDATE, and the guarded UPDATE.
CREATE TABLE peer_wallets (
    id       integer PRIMARY KEY,
    balance  bigint NOT NULL,
    held     bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE TABLE peer_movements (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    wallet_id  integer NOT NULL REFERENCES peer_wallets (id),
    kind       text NOT NULL,
    amount     bigint NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON peer_movements (wallet_id);

-- Double entry in which every account stores its balance, that of the operator's revenue too, so every sale locks it.
CREATE TABLE entry_accounts (
    id       integer PRIMARY KEY,
    balance  bigint NOT NULL,
    version  bigint NOT NULL DEFAULT 0,
    may_owe  boolean NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE entry_transfers (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_account  integer NOT NULL REFERENCES entry_accounts (id),
    to_account    integer NOT NULL REFERENCES entry_accounts (id),
    amount        bigint NOT NULL CHECK (amount > 0),
    at            timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE entries (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transfer_id   bigint NOT NULL REFERENCES entry_transfers (id),
    account_id    integer NOT NULL REFERENCES entry_accounts (id),
    amount        bigint NOT NULL,
    before        bigint NOT NULL,
    after         bigint NOT NULL,
    version       bigint NOT NULL
);
CREATE INDEX ON entries (account_id, version);
CREATE INDEX ON entries (transfer_id);

CREATE FUNCTION entry_transfer(p_from integer, p_to integer, p_amount bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    transfer bigint;
    a entry_accounts;
BEGIN
    PERFORM FROM entry_accounts WHERE id IN (p_from, p_to) ORDER BY id FOR UPDATE;
    INSERT INTO entry_transfers (from_account, to_account, amount) VALUES (p_from, p_to, p_amount) RETURNING id INTO transfer;
    UPDATE entry_accounts SET balance = balance - p_amount, version = version + 1 WHERE id = p_from RETURNING * INTO a;
    IF a.balance < 0 AND NOT a.may_owe THEN RAISE EXCEPTION 'account % has not enough', p_from; END IF;
    INSERT INTO entries (transfer_id, account_id, amount, before, after, version)
        VALUES (transfer, p_from, -p_amount, a.balance + p_amount, a.balance, a.version);
    UPDATE entry_accounts SET balance = balance + p_amount, version = version + 1 WHERE id = p_to RETURNING * INTO a;
    INSERT INTO entries (transfer_id, account_id, amount, before, after, version)
        VALUES (transfer, p_to, p_amount, a.balance - p_amount, a.balance, a.version);
    RETURN transfer;
END $$;

-- What a gateway does that only adds up: look at the budget, then increment what its key, user and team have spent.
CREATE TABLE spenders (
    id     integer PRIMARY KEY,
    kind   text NOT NULL,
    spend  double precision NOT NULL DEFAULT 0,
    budget double precision NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE spend_logs (
    id    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key   integer NOT NULL,
    spend double precision NOT NULL,
    at    timestamptz NOT NULL DEFAULT now()
);

-- Twice as many, because the pattern that loses updates has wallets of its own.
INSERT INTO peer_wallets SELECT n, 1000000000000000 FROM generate_series(1, 2 * {wallets}) n;
-- Account 0 is the revenue; each wallet n has its account n for what is available and -n for what is held.
INSERT INTO entry_accounts SELECT n, 1000000000000000, 0, n = 0 FROM generate_series(-{wallets}, {wallets}) n;
INSERT INTO spenders SELECT n, 'key', 0, 1e18 FROM generate_series(1, {wallets}) n;
