"""The workspace: agents, rooms, sessions with their turns and messages, files."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- What people delete is invisible at once (deleted_at), can be restored for some days, and is then purged with
    -- everything that belongs to it: therefore the cascades.

    CREATE TABLE agents (
        id                uuid PRIMARY KEY,
        user_id           uuid NOT NULL REFERENCES users (id),
        agent_key         text NOT NULL,
        name              text NOT NULL,
        model_alias       text NOT NULL,
        role_prompt       text NOT NULL,
        tool_permissions  text[] NOT NULL,
        -- Rises with each change, so that a turn can tell which agent it was.
        version           integer NOT NULL DEFAULT 1,
        created_at        timestamptz NOT NULL,
        updated_at        timestamptz NOT NULL,
        deleted_at        timestamptz,
        CONSTRAINT agents_agent_key_is_a_tag CHECK (agent_key ~ '^[A-Za-z0-9_-]{1,64}$'),
        CONSTRAINT agents_tools_are_known CHECK (tool_permissions <@ ARRAY['search', 'file_read'])
    );
    -- Tags are read without regard to case.
    CREATE UNIQUE INDEX agents_keys_are_unique_among_the_living
        ON agents (user_id, lower(agent_key)) WHERE deleted_at IS NULL;
    CREATE INDEX agents_user_id ON agents (user_id);
    CREATE INDEX agents_deleted_at ON agents (deleted_at) WHERE deleted_at IS NOT NULL;

    CREATE TABLE rooms (
        id            uuid PRIMARY KEY,
        user_id       uuid NOT NULL REFERENCES users (id),
        name          text NOT NULL,
        goal          text,
        current_mode  text NOT NULL,
        -- Takes over when the next turn begins.
        pending_mode  text,
        created_at    timestamptz NOT NULL,
        updated_at    timestamptz NOT NULL,
        deleted_at    timestamptz,
        CONSTRAINT rooms_current_mode_is_known CHECK (current_mode IN ('manual', 'roundtable', 'orchestrator')),
        CONSTRAINT rooms_pending_mode_is_known CHECK (pending_mode IN ('manual', 'roundtable', 'orchestrator'))
    );
    CREATE INDEX rooms_user_id ON rooms (user_id);
    CREATE INDEX rooms_deleted_at ON rooms (deleted_at) WHERE deleted_at IS NOT NULL;

    -- Who takes part in a room, in the order in which they speak.
    CREATE TABLE room_agents (
        id          uuid PRIMARY KEY,
        room_id     uuid NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
        agent_id    uuid NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
        position    integer NOT NULL,
        created_at  timestamptz NOT NULL,
        CONSTRAINT room_agents_are_assigned_once UNIQUE (room_id, agent_id),
        -- Deferred, because a move shifts the others one by one.
        CONSTRAINT room_agents_have_places_of_their_own UNIQUE (room_id, position) DEFERRABLE INITIALLY DEFERRED,
        CONSTRAINT room_agents_position_is_never_negative CHECK (position >= 0)
    );
    CREATE INDEX room_agents_agent_id ON room_agents (agent_id);

    -- A conversation in a room, or with one agent. (`sessions` are those of people who signed in.)
    CREATE TABLE chat_sessions (
        id          uuid PRIMARY KEY,
        user_id     uuid NOT NULL REFERENCES users (id),
        room_id     uuid REFERENCES rooms (id) ON DELETE CASCADE,
        agent_id    uuid REFERENCES agents (id) ON DELETE CASCADE,
        created_at  timestamptz NOT NULL,
        deleted_at  timestamptz,
        CONSTRAINT chat_sessions_are_in_a_room_or_with_an_agent CHECK (num_nonnulls(room_id, agent_id) = 1)
    );
    CREATE INDEX chat_sessions_user_id ON chat_sessions (user_id);
    CREATE INDEX chat_sessions_room_id ON chat_sessions (room_id) WHERE room_id IS NOT NULL;
    CREATE INDEX chat_sessions_agent_id ON chat_sessions (agent_id) WHERE agent_id IS NOT NULL;
    CREATE INDEX chat_sessions_deleted_at ON chat_sessions (deleted_at) WHERE deleted_at IS NOT NULL;

    -- One request to agents and its answer. What it may cost (cap, in nanocredits) is held in the wallet.
    CREATE TABLE turns (
        id                    uuid PRIMARY KEY,
        session_id            uuid NOT NULL REFERENCES chat_sessions (id) ON DELETE CASCADE,
        turn_index            integer NOT NULL,
        mode                  text NOT NULL,
        -- The agents as they were when the turn began, with their versions: later changes do not reach into it.
        roster                jsonb NOT NULL,
        user_input            text NOT NULL,
        assistant_output      text,
        status                text NOT NULL DEFAULT 'queued',
        error_code            text,
        model_alias_override  text,
        api_key_id            uuid,
        hold_id               uuid,
        cap                   bigint,
        -- Who works on it, and until when others have to believe that.
        leased_by             text,
        leased_until          timestamptz,
        stop_requested_at     timestamptz,
        created_at            timestamptz NOT NULL,
        started_at            timestamptz,
        ended_at              timestamptz,
        CONSTRAINT turns_are_numbered_within_their_session UNIQUE (session_id, turn_index),
        CONSTRAINT turns_mode_is_known CHECK (mode IN ('manual', 'roundtable', 'orchestrator', 'direct')),
        CONSTRAINT turns_status_is_known CHECK (status IN ('queued', 'running', 'completed', 'failed', 'stopped')),
        CONSTRAINT turns_ended_have_a_time CHECK ((status IN ('queued', 'running')) = (ended_at IS NULL)),
        CONSTRAINT turns_failed_say_why CHECK ((status = 'failed') = (error_code IS NOT NULL)),
        CONSTRAINT turns_cap_is_never_negative CHECK (cap >= 0)
    );
    CREATE UNIQUE INDEX turns_run_one_at_a_time ON turns (session_id) WHERE status IN ('queued', 'running');
    CREATE INDEX turns_open ON turns (leased_until) WHERE status IN ('queued', 'running');

    -- What was said in a turn. The agent's name is kept as it was, whatever becomes of the agent.
    CREATE TABLE messages (
        id          uuid PRIMARY KEY,
        session_id  uuid NOT NULL REFERENCES chat_sessions (id) ON DELETE CASCADE,
        turn_id     uuid NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
        position    integer NOT NULL,
        role        text NOT NULL,
        agent_id    uuid,
        agent_name  text,
        content     text NOT NULL,
        state       text NOT NULL,
        created_at  timestamptz NOT NULL,
        CONSTRAINT messages_are_numbered_within_their_turn UNIQUE (turn_id, position),
        CONSTRAINT messages_role_is_known CHECK (role IN ('user', 'assistant', 'tool')),
        CONSTRAINT messages_state_is_known CHECK (state IN ('streaming', 'completed', 'failed', 'stopped'))
    );
    CREATE INDEX messages_session_id ON messages (session_id);

    -- The stream of a turn as rows, so that any process can replay it and go on with it.
    CREATE TABLE turn_events (
        turn_id     uuid NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
        seq         integer NOT NULL,
        event       text NOT NULL,
        data        jsonb NOT NULL,
        created_at  timestamptz NOT NULL,
        PRIMARY KEY (turn_id, seq)
    );

    -- What the storage keeps under the file's id. There is no cascade from the room: a row goes after its content.
    CREATE TABLE files (
        id                  uuid PRIMARY KEY,
        user_id             uuid NOT NULL REFERENCES users (id),
        room_id             uuid NOT NULL REFERENCES rooms (id),
        filename            text NOT NULL,
        file_type           text NOT NULL,
        file_size           bigint NOT NULL,
        -- NULL until the storage has it all.
        stored_at           timestamptz,
        parse_status        text NOT NULL DEFAULT 'pending',
        parse_attempts      integer NOT NULL DEFAULT 0,
        parse_leased_until  timestamptz,
        error_message       text,
        -- Bytes of the text that was read out of it, in UTF-8.
        text_size           bigint,
        created_at          timestamptz NOT NULL,
        deleted_at          timestamptz,
        CONSTRAINT files_type_is_known CHECK (file_type IN ('pdf', 'docx', 'txt', 'md', 'csv')),
        CONSTRAINT files_are_never_empty CHECK (file_size > 0),
        CONSTRAINT files_parse_status_is_known CHECK (parse_status IN ('pending', 'parsing', 'parsed', 'failed')),
        CONSTRAINT files_parsed_have_a_text CHECK ((parse_status = 'parsed') = (text_size IS NOT NULL)),
        CONSTRAINT files_failed_say_why CHECK ((parse_status = 'failed') = (error_message IS NOT NULL))
    );
    CREATE INDEX files_user_id ON files (user_id);
    CREATE INDEX files_room_id ON files (room_id);
    CREATE INDEX files_unparsed ON files (created_at) WHERE parse_status IN ('pending', 'parsing');
    CREATE INDEX files_deleted_at ON files (deleted_at) WHERE deleted_at IS NOT NULL;
    """)


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
