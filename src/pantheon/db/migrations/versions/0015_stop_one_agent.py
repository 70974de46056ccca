"""A turn that runs in another process is told which agent to stop."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE turns ADD COLUMN stop_agent_key text")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
