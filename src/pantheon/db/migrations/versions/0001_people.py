"""People: users, how they sign in, what they did, and how often they tried."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    CREATE TABLE installation (
        -- Names this installation in the metadata of payments, so that several can share one Stripe account.
        id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        only_row    boolean NOT NULL DEFAULT true,
        created_at  timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT installation_has_one_row UNIQUE (only_row),
        CONSTRAINT installation_only_row_is_true CHECK (only_row)
    );
    INSERT INTO installation DEFAULT VALUES;

    CREATE TABLE users (
        id             uuid PRIMARY KEY,
        email          text,
        password_hash  text,
        role           text NOT NULL DEFAULT 'user',
        state          text NOT NULL DEFAULT 'active',
        created_at     timestamptz NOT NULL,
        CONSTRAINT users_email_is_unique UNIQUE (email),
        CONSTRAINT users_email_is_normalised CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
        CONSTRAINT users_role_is_known CHECK (role IN ('user', 'analyst', 'owner')),
        CONSTRAINT users_state_is_known CHECK (state IN ('active', 'disabled', 'deleted'))
    );
    CREATE INDEX users_created_at ON users (created_at DESC);

    -- Who a user is for an outside issuer of tokens.
    CREATE TABLE identities (
        issuer      text NOT NULL,
        subject     text NOT NULL,
        user_id     uuid NOT NULL REFERENCES users (id),
        created_at  timestamptz NOT NULL,
        PRIMARY KEY (issuer, subject)
    );
    CREATE INDEX identities_user_id ON identities (user_id);

    CREATE TABLE sessions (
        id            uuid PRIMARY KEY,
        user_id       uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        token_hash    bytea NOT NULL,
        ip            text,
        user_agent    text,
        created_at    timestamptz NOT NULL,
        expires_at    timestamptz NOT NULL,
        CONSTRAINT sessions_token_hash_is_unique UNIQUE (token_hash)
    );
    CREATE INDEX sessions_user_id ON sessions (user_id);
    CREATE INDEX sessions_expires_at ON sessions (expires_at);

    -- Links that work once: sign in, choose a password, accept an invitation.
    CREATE TABLE one_time_links (
        id          uuid PRIMARY KEY,
        purpose     text NOT NULL,
        token_hash  bytea NOT NULL,
        user_id     uuid REFERENCES users (id) ON DELETE CASCADE,
        email       text,
        created_at  timestamptz NOT NULL,
        expires_at  timestamptz NOT NULL,
        used_at     timestamptz,
        CONSTRAINT one_time_links_token_hash_is_unique UNIQUE (token_hash),
        CONSTRAINT one_time_links_purpose_is_known CHECK (purpose IN ('sign_in', 'password_reset', 'invitation')),
        CONSTRAINT one_time_links_name_a_user_unless_invitation CHECK ((user_id IS NULL) = (purpose = 'invitation'))
    );
    CREATE INDEX one_time_links_user_id ON one_time_links (user_id);

    CREATE TABLE api_keys (
        id                     uuid PRIMARY KEY,
        user_id                uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        name                   text NOT NULL,
        scopes                 text[] NOT NULL,
        monthly_limit_credits  bigint,
        key_hash               bytea NOT NULL,
        key_start              text NOT NULL,
        created_at             timestamptz NOT NULL,
        last_used_at           timestamptz,
        revoked_at             timestamptz,
        CONSTRAINT api_keys_key_hash_is_unique UNIQUE (key_hash),
        CONSTRAINT api_keys_monthly_limit_is_positive CHECK (monthly_limit_credits > 0)
    );
    CREATE INDEX api_keys_user_id ON api_keys (user_id);

    -- Counters of attempts in fixed windows, shared by all processes.
    CREATE TABLE rate_limits (
        bucket             text NOT NULL,
        window_started_at  timestamptz NOT NULL,
        hits               integer NOT NULL,
        PRIMARY KEY (bucket, window_started_at)
    );

    -- One row for each POST that was sent with an Idempotency-Key.
    CREATE TABLE idempotency_keys (
        user_id      uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        key          text NOT NULL,
        route        text NOT NULL,
        fingerprint  bytea NOT NULL,
        resource_id  uuid,
        answer       jsonb,
        created_at   timestamptz NOT NULL,
        PRIMARY KEY (user_id, key)
    );
    CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);

    CREATE TABLE audit_log (
        seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at          timestamptz NOT NULL,
        actor       uuid,
        actor_name  text NOT NULL,
        action      text NOT NULL,
        subject     text NOT NULL,
        ip          text,
        details     jsonb NOT NULL,
        hash        bytea NOT NULL
    );
    CREATE INDEX audit_log_actor ON audit_log (actor);
    CREATE INDEX audit_log_subject ON audit_log (subject);

    -- Shared by every table whose rows are facts: what was written stays written.
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
    END $$;

    CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE ON audit_log
        FOR EACH ROW EXECUTE FUNCTION refuse_change();
    CREATE TRIGGER audit_log_is_never_truncated BEFORE TRUNCATE ON audit_log
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
    """)


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards: restore a backup.")
