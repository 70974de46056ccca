"""Limits of users beside those of operators, and the notices of how much of the last top-up is left."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- A user's own limit and an operator's stand side by side, and the tighter one binds: neither can loosen the other's.
    ALTER TABLE spend_limits ADD COLUMN set_by text NOT NULL DEFAULT 'user';
    ALTER TABLE spend_limits ADD CONSTRAINT spend_limits_set_by_is_known CHECK (set_by IN ('user', 'owner'));
    DROP INDEX spend_limits_are_one_for_each_scope_and_period;
    CREATE UNIQUE INDEX spend_limits_are_one_for_each_scope_period_and_setter
        ON spend_limits (wallet_id, scope, scope_id, period, set_by) WHERE ended_at IS NULL;

    -- The functions are told who sets or ends a limit. The new parameter has a default.
    DROP FUNCTION IF EXISTS ledger_set_spend_limit(uuid, uuid, text, text, text, bigint);
    DROP FUNCTION IF EXISTS ledger_end_spend_limit(uuid, text, text, text);

    -- From now on a key's limit is made together with the key. Its column in api_keys is not read any more.
    INSERT INTO spend_limits (id, wallet_id, scope, scope_id, period, amount, created_at)
    SELECT k.id, w.id, 'api_key', k.id::text, 'month', k.monthly_limit_credits, now()
    FROM api_keys k JOIN wallets w ON w.user_id = k.user_id
    WHERE k.monthly_limit_credits IS NOT NULL AND k.revoked_at IS NULL
      AND NOT EXISTS (SELECT FROM spend_limits l WHERE l.id = k.id);

    -- How far the credits of a wallet had gone down when a call ended: at most `level` percent of the top-up were left.
    -- Each level once for each top-up. Whether it is still so is not in here, but in the wallet.
    CREATE TABLE balance_notices (
        grant_id  uuid NOT NULL REFERENCES grants (id),
        level     smallint NOT NULL,
        since     timestamptz NOT NULL,
        PRIMARY KEY (grant_id, level),
        CONSTRAINT balance_notices_level_is_a_percentage CHECK (level BETWEEN 0 AND 100)
    );
    CREATE INDEX grants_top_ups ON grants (wallet_id, created_at, id) WHERE source = 'top_up';
    """)


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
