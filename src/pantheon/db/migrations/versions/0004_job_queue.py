"""The job queue: procrastinate's own schema, in the same database so that a job commits with the row it is about."""

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Straight to the driver: the schema is full of % and : that SQLAlchemy would take for parameters.
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(SchemaManager.get_schema())


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
