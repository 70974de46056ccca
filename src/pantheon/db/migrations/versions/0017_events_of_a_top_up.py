"""Each event names the top-up that it is about, so that all of them can be found."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # No reference: an event may name a top-up that is not there. The events of before are not filled in, which would
    # keep Stripe waiting; those of them that changed their top-up are named in its history.
    op.execute("""
    ALTER TABLE inbox_events ADD COLUMN top_up_id uuid;
    CREATE INDEX inbox_events_top_up_id ON inbox_events (top_up_id, received_at) WHERE top_up_id IS NOT NULL;
    """)


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
