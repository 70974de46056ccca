"""Summaries take the place of what a model could not read any more."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- What was said in a session up to and with one of its turns, in short. The newest one counts.
    CREATE TABLE chat_summaries (
        session_id          uuid NOT NULL REFERENCES chat_sessions (id) ON DELETE CASCADE,
        through_turn_index  integer NOT NULL,
        content             text NOT NULL,
        created_at          timestamptz NOT NULL,
        PRIMARY KEY (session_id, through_turn_index)
    );
    """)


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
