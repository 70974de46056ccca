"""Stripe's customers: one for each user, with whom their payments are made."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    CREATE TABLE stripe_customers (
        user_id      uuid NOT NULL REFERENCES users (id),
        livemode     boolean NOT NULL,
        account      text,
        -- Part of the idempotency key: a customer that Stripe no longer has is followed by the next generation.
        generation   integer NOT NULL DEFAULT 1,
        customer_id  text,
        CONSTRAINT stripe_customers_one_for_each_user UNIQUE NULLS NOT DISTINCT (user_id, livemode, account)
    );

    -- Chosen before Stripe is asked for the payment, so that a repeat names the same one.
    ALTER TABLE top_ups ADD COLUMN customer_id text;
    """)


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
