"""What settling a call needs: receipts of calls that drew nothing, and limits that a draw is decided by."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- A call that drew nothing, where nothing is enforced or the wallet was empty, has a receipt too.
    ALTER TABLE receipts DROP CONSTRAINT receipts_id_fkey;
    ALTER TABLE receipts ADD COLUMN balance_after bigint;
    CREATE INDEX receipts_created_at ON receipts (created_at);

    -- A draw is told for what it is, so that the limits of it can be found. The new parameter has a default.
    DROP FUNCTION IF EXISTS ledger_draw(uuid, uuid, bigint);

    ALTER TABLE spend_limits ADD CONSTRAINT spend_limits_of_a_wallet_name_nothing_else
        CHECK ((scope = 'wallet') = (scope_id = ''));
    INSERT INTO spend_limits (id, wallet_id, scope, scope_id, period, amount, created_at)
    SELECT k.id, w.id, 'api_key', k.id::text, 'month', k.monthly_limit_credits, now()
    FROM api_keys k JOIN wallets w ON w.user_id = k.user_id
    WHERE k.monthly_limit_credits IS NOT NULL AND k.revoked_at IS NULL;
    """)


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
