"""What was used on each day, added up once the day is over, so that nobody has to read a million receipts again."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- The receipts of one day (UTC) with the same user, model, agent, room and API key, in one row. Written when the day is
    -- closed, and not changed after that. `charged` and `overrun` are nanocredits, `provider_cost` is nano-dollars.
    -- What a call cost its provider is not always known: the columns with_cost are about the calls of which it is.
    CREATE TABLE usage_days (
        day                  date NOT NULL,
        user_id              uuid NOT NULL REFERENCES users (id),
        model_alias          text NOT NULL,
        agent_id             uuid,
        room_id              uuid,
        api_key_id           uuid,
        calls                bigint NOT NULL,
        input_tokens         bigint NOT NULL,
        cached_input_tokens  bigint NOT NULL,
        output_tokens        bigint NOT NULL,
        charged              bigint NOT NULL,
        overrun              bigint NOT NULL,
        calls_with_cost      bigint NOT NULL,
        charged_with_cost    bigint NOT NULL,
        provider_cost        bigint NOT NULL,
        CONSTRAINT usage_days_have_one_row_of_a_kind
            UNIQUE NULLS NOT DISTINCT (day, user_id, model_alias, agent_id, room_id, api_key_id)
    );
    CREATE INDEX usage_days_user_id ON usage_days (user_id, day);

    -- The days that are in usage_days, in order and without a gap, from that of the first receipt on. A day has one row,
    -- and so is added up once.
    CREATE TABLE usage_closed_days (
        day        date PRIMARY KEY,
        closed_at  timestamptz NOT NULL
    );
    """)


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
