"""The tables as queries see them: names and types only.

The migrations are the truth about constraints and indexes; a test holds these columns to the migrated database.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()
_time = DateTime(timezone=True)

installation = Table("installation", metadata, Column("id", Uuid), Column("created_at", _time))

users = Table(
    "users",
    metadata,
    Column("id", Uuid),
    Column("email", Text),
    Column("password_hash", Text),
    Column("role", Text),
    Column("state", Text),
    Column("created_at", _time),
)

identities = Table(
    "identities",
    metadata,
    Column("issuer", Text),
    Column("subject", Text),
    Column("user_id", Uuid),
    Column("created_at", _time),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid),
    Column("user_id", Uuid),
    Column("token_hash", LargeBinary),
    Column("ip", Text),
    Column("user_agent", Text),
    Column("created_at", _time),
    Column("expires_at", _time),
)

one_time_links = Table(
    "one_time_links",
    metadata,
    Column("id", Uuid),
    Column("purpose", Text),
    Column("token_hash", LargeBinary),
    Column("user_id", Uuid),
    Column("email", Text),
    Column("created_at", _time),
    Column("expires_at", _time),
    Column("used_at", _time),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid),
    Column("user_id", Uuid),
    Column("name", Text),
    Column("scopes", ARRAY(Text)),
    Column("monthly_limit_credits", BigInteger),
    Column("key_hash", LargeBinary),
    Column("key_start", Text),
    Column("created_at", _time),
    Column("last_used_at", _time),
    Column("revoked_at", _time),
)

rate_limits = Table(
    "rate_limits", metadata, Column("bucket", Text), Column("window_started_at", _time), Column("hits", Integer)
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", Uuid),
    Column("key", Text),
    Column("route", Text),
    Column("fingerprint", LargeBinary),
    Column("resource_id", Uuid),
    Column("answer", JSONB),
    Column("created_at", _time),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", BigInteger),
    Column("at", _time),
    Column("actor", Uuid),
    Column("actor_name", Text),
    Column("action", Text),
    Column("subject", Text),
    Column("ip", Text),
    Column("details", JSONB),
    Column("hash", LargeBinary),
)

wallets = Table(
    "wallets",
    metadata,
    Column("id", Uuid),
    Column("user_id", Uuid),
    Column("available", BigInteger),
    Column("held", BigInteger),
    Column("debt", BigInteger),
    Column("seq", BigInteger),
    Column("head_hash", LargeBinary),
    Column("next_expiry_at", _time),
    Column("state", Text),
    Column("created_at", _time),
)

transfers = Table(
    "transfers",
    metadata,
    Column("id", Uuid),
    Column("event_id", Uuid),
    Column("wallet_id", Uuid),
    Column("wallet_seq", BigInteger),
    Column("debit_account", Text),
    Column("credit_account", Text),
    Column("amount", BigInteger),
    Column("kind", Text),
    Column("reference_id", Text),
    Column("revision", Integer),
    Column("reverses", Uuid),
    Column("effective_at", _time),
    Column("recorded_at", _time),
    Column("actor", Uuid),
    Column("available_after", BigInteger),
    Column("held_after", BigInteger),
    Column("debt_after", BigInteger),
    Column("hash", LargeBinary),
)

transfer_notes = Table(
    "transfer_notes", metadata, Column("event_id", Uuid), Column("note", Text), Column("redacted_at", _time)
)

grants = Table(
    "grants",
    metadata,
    Column("id", Uuid),
    Column("wallet_id", Uuid),
    Column("source", Text),
    Column("category", Text),
    Column("amount", BigInteger),
    Column("remaining", BigInteger),
    Column("held", BigInteger),
    Column("reversed", BigInteger),
    Column("revision", Integer),
    Column("cost_minor", BigInteger),
    Column("priority", SmallInteger),
    Column("reference_id", Text),
    Column("effective_at", _time),
    Column("expires_at", _time),
    Column("voided_at", _time),
    Column("created_at", _time),
    Column("is_open", Boolean),
)

grant_moves = Table(
    "grant_moves",
    metadata,
    Column("transfer_id", Uuid),
    Column("grant_id", Uuid),
    Column("available", BigInteger),
    Column("held", BigInteger),
)

holds = Table(
    "holds",
    metadata,
    Column("id", Uuid),
    Column("wallet_id", Uuid),
    Column("amount", BigInteger),
    Column("reserved", BigInteger),
    Column("captured", BigInteger),
    Column("state", Text),
    Column("created_at", _time),
    Column("expires_at", _time),
    Column("ended_at", _time),
)

draws = Table(
    "draws",
    metadata,
    Column("id", Uuid),
    Column("hold_id", Uuid),
    Column("amount", BigInteger),
    Column("captured", BigInteger),
    Column("overrun", BigInteger),
    Column("state", Text),
    Column("created_at", _time),
    Column("ended_at", _time),
)

top_ups = Table(
    "top_ups",
    metadata,
    Column("id", Uuid),
    Column("user_id", Uuid),
    Column("wallet_id", Uuid),
    Column("state", Text),
    Column("reason", Text),
    Column("amount_minor", BigInteger),
    Column("currency", Text),
    Column("credits", BigInteger),
    Column("credits_per_major", Text),
    Column("livemode", Boolean),
    Column("stripe_account", Text),
    Column("payment_intent_id", Text),
    Column("request_params", JSONB),
    Column("leased_until", _time),
    Column("cancel_reason", Text),
    Column("grant_id", Uuid),
    Column("created_at", _time),
    Column("expires_at", _time),
    Column("credited_at", _time),
    Column("customer_id", Text),
)

stripe_customers = Table(
    "stripe_customers",
    metadata,
    Column("user_id", Uuid),
    Column("livemode", Boolean),
    Column("account", Text),
    Column("generation", Integer),
    Column("customer_id", Text),
)

inbox_events = Table(
    "inbox_events",
    metadata,
    Column("id", Uuid),
    Column("source", Text),
    Column("event_id", Text),
    Column("type", Text),
    Column("livemode", Boolean),
    Column("account", Text),
    Column("api_version", Text),
    Column("body", LargeBinary),
    Column("body_hash", LargeBinary),
    Column("verified", Boolean),
    Column("secret_index", SmallInteger),
    Column("state", Text),
    Column("outcome", Text),
    Column("attempts", Integer),
    Column("last_error", Text),
    Column("received_count", Integer),
    Column("received_at", _time),
    Column("next_attempt_at", _time),
    Column("handled_at", _time),
    Column("top_up_id", Uuid),
)

payments = Table(
    "payments",
    metadata,
    Column("id", Uuid),
    Column("payment_intent_id", Text),
    Column("livemode", Boolean),
    Column("account", Text),
    Column("top_up_id", Uuid),
    Column("status", Text),
    Column("amount_minor", BigInteger),
    Column("received_minor", BigInteger),
    Column("currency", Text),
    Column("failures", Integer),
    Column("failure_category", Text),
    Column("review_reason", Text),
    Column("first_seen_at", _time),
    Column("last_seen_at", _time),
)

top_up_history = Table(
    "top_up_history",
    metadata,
    Column("id", Uuid),
    Column("top_up_id", Uuid),
    Column("from_state", Text),
    Column("to_state", Text),
    Column("reason", Text),
    Column("inbox_event_id", Uuid),
    Column("at", _time),
)

rate_cards = Table(
    "rate_cards",
    metadata,
    Column("version", Integer),
    Column("effective_at", _time),
    Column("effective_until", _time),
    Column("published_at", _time),
    Column("published_by", Uuid),
    Column("note", Text),
)

rates = Table(
    "rates",
    metadata,
    Column("version", Integer),
    Column("model_alias", Text),
    Column("provider", Text),
    Column("provider_model", Text),
    Column("context_tokens", Integer),
    Column("max_output_tokens", Integer),
    Column("multiplier", BigInteger),
    Column("input_price", BigInteger),
    Column("cached_input_price", BigInteger),
    Column("cache_write_price", BigInteger),
    Column("output_price", BigInteger),
    Column("reasoning_price", BigInteger),
    Column("tool_call_price", BigInteger),
    Column("input_cost", BigInteger),
    Column("cached_input_cost", BigInteger),
    Column("cache_write_cost", BigInteger),
    Column("output_cost", BigInteger),
    Column("reasoning_cost", BigInteger),
    Column("tool_call_cost", BigInteger),
)

enforcement_override = Table(
    "enforcement_override",
    metadata,
    Column("mode", Text),
    Column("set_at", _time),
)

calls = Table(
    "calls",
    metadata,
    Column("id", Uuid),
    Column("user_id", Uuid),
    Column("wallet_id", Uuid),
    Column("hold_id", Uuid),
    Column("api_key_id", Uuid),
    Column("turn_id", Uuid),
    Column("agent_id", Uuid),
    Column("room_id", Uuid),
    Column("model_alias", Text),
    Column("rate_card_version", Integer),
    Column("enforcement", Text),
    Column("input_counted", Integer),
    Column("max_output", Integer),
    Column("delivered_output", Integer),
    Column("state", Text),
    Column("outcome", Text),
    Column("started_at", _time),
    Column("expires_at", _time),
    Column("first_token_at", _time),
    Column("ended_at", _time),
)

receipts = Table(
    "receipts",
    metadata,
    Column("id", Uuid),
    Column("wallet_id", Uuid),
    Column("transfer_id", Uuid),
    Column("charged", BigInteger),
    Column("overrun", BigInteger),
    Column("balance_after", BigInteger),
    Column("body", JSONB),
    Column("created_at", _time),
)

spend_limits = Table(
    "spend_limits",
    metadata,
    Column("id", Uuid),
    Column("wallet_id", Uuid),
    Column("scope", Text),
    Column("scope_id", Text),
    Column("period", Text),
    Column("amount", BigInteger),
    Column("created_at", _time),
    Column("ended_at", _time),
    Column("set_by", Text),
)

spend_counters = Table(
    "spend_counters",
    metadata,
    Column("limit_id", Uuid),
    Column("period_from", Date),
    Column("reserved", BigInteger),
    Column("spent", BigInteger),
)

draw_limits = Table(
    "draw_limits",
    metadata,
    Column("draw_id", Uuid),
    Column("limit_id", Uuid),
    Column("period_from", Date),
)

balance_notices = Table(
    "balance_notices", metadata, Column("grant_id", Uuid), Column("level", SmallInteger), Column("since", _time)
)

agents = Table(
    "agents",
    metadata,
    Column("id", Uuid),
    Column("user_id", Uuid),
    Column("agent_key", Text),
    Column("name", Text),
    Column("model_alias", Text),
    Column("role_prompt", Text),
    Column("tool_permissions", ARRAY(Text)),
    Column("version", Integer),
    Column("created_at", _time),
    Column("updated_at", _time),
    Column("deleted_at", _time),
)

rooms = Table(
    "rooms",
    metadata,
    Column("id", Uuid),
    Column("user_id", Uuid),
    Column("name", Text),
    Column("goal", Text),
    Column("current_mode", Text),
    Column("pending_mode", Text),
    Column("created_at", _time),
    Column("updated_at", _time),
    Column("deleted_at", _time),
)

room_agents = Table(
    "room_agents",
    metadata,
    Column("id", Uuid),
    Column("room_id", Uuid),
    Column("agent_id", Uuid),
    Column("position", Integer),
    Column("created_at", _time),
)

chat_sessions = Table(
    "chat_sessions",
    metadata,
    Column("id", Uuid),
    Column("user_id", Uuid),
    Column("room_id", Uuid),
    Column("agent_id", Uuid),
    Column("created_at", _time),
    Column("deleted_at", _time),
)

turns = Table(
    "turns",
    metadata,
    Column("id", Uuid),
    Column("session_id", Uuid),
    Column("turn_index", Integer),
    Column("mode", Text),
    Column("roster", JSONB),
    Column("user_input", Text),
    Column("assistant_output", Text),
    Column("status", Text),
    Column("error_code", Text),
    Column("model_alias_override", Text),
    Column("api_key_id", Uuid),
    Column("hold_id", Uuid),
    Column("cap", BigInteger),
    Column("leased_by", Text),
    Column("leased_until", _time),
    Column("stop_requested_at", _time),
    Column("stop_agent_key", Text),
    Column("created_at", _time),
    Column("started_at", _time),
    Column("ended_at", _time),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Uuid),
    Column("session_id", Uuid),
    Column("turn_id", Uuid),
    Column("position", Integer),
    Column("role", Text),
    Column("agent_id", Uuid),
    Column("agent_name", Text),
    Column("content", Text),
    Column("state", Text),
    Column("created_at", _time),
)

turn_events = Table(
    "turn_events",
    metadata,
    Column("turn_id", Uuid),
    Column("seq", Integer),
    Column("event", Text),
    Column("data", JSONB),
    Column("created_at", _time),
)

files = Table(
    "files",
    metadata,
    Column("id", Uuid),
    Column("user_id", Uuid),
    Column("room_id", Uuid),
    Column("filename", Text),
    Column("file_type", Text),
    Column("file_size", BigInteger),
    Column("stored_at", _time),
    Column("parse_status", Text),
    Column("parse_attempts", Integer),
    Column("parse_leased_until", _time),
    Column("error_message", Text),
    Column("text_size", BigInteger),
    Column("created_at", _time),
    Column("deleted_at", _time),
)

usage_days = Table(
    "usage_days",
    metadata,
    Column("day", Date),
    Column("user_id", Uuid),
    Column("model_alias", Text),
    Column("agent_id", Uuid),
    Column("room_id", Uuid),
    Column("api_key_id", Uuid),
    Column("calls", BigInteger),
    Column("input_tokens", BigInteger),
    Column("cached_input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("charged", BigInteger),
    Column("overrun", BigInteger),
    Column("calls_with_cost", BigInteger),
    Column("charged_with_cost", BigInteger),
    Column("provider_cost", BigInteger),
)

usage_closed_days = Table("usage_closed_days", metadata, Column("day", Date), Column("closed_at", _time))

chat_summaries = Table(
    "chat_summaries",
    metadata,
    Column("session_id", Uuid),
    Column("through_turn_index", Integer),
    Column("content", Text),
    Column("created_at", _time),
)
