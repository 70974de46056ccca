"""A person says something in a session. Who answers, and what that may cost, is settled before anybody is asked."""

import re
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from pantheon import clock, ids
from pantheon.db import idempotency, locks, rate_limit
from pantheon.db.engine import Database, Tx
from pantheon.db.locks import Lock
from pantheon.db.tables import chat_sessions, messages, rooms, turns
from pantheon.errors import (
    ConflictError,
    ContextBudgetExceededError,
    IdempotencyInProgressError,
    ModelNotFoundError,
    NoAgentsError,
    NoTaggedAgentsError,
    TooManyRequestsError,
)
from pantheon.models.tokens import most_text_tokens
from pantheon.money.rate_card import most
from pantheon.settings import Settings
from pantheon.turns.admit_call import GRACE, LEAST_OUTPUT
from pantheon.turns.meter import Meter
from pantheon.turns.rate_cards import model_in_force
from pantheon.workspace.agents import Agent, get_agent
from pantheon.workspace.rooms import get_room
from pantheon.workspace.roster import query_roster, room_agent_of
from pantheon.workspace.sessions import get_session
from pantheon.workspace.transcript import TurnMode
from pantheon.workspace.turn import LEASE, Member, OpenTurn

_TAG = re.compile(r"(?<![A-Za-z0-9_@-])@([A-Za-z0-9_-]{1,64})")


@dataclass(frozen=True)
class Plan:
    """Who would answer, and in which way."""

    room_id: UUID | None
    goal: str | None
    mode: TurnMode
    roster: tuple[Member, ...]


async def start_turn(
    database: Database,
    settings: Settings,
    meter: Meter,
    *,
    worker: str,
    user_id: UUID,
    api_key_id: UUID | None,
    session_id: UUID,
    message: str,
    context: str = "",
    model_alias_override: str | None = None,
    request: idempotency.Request | None = None,
) -> OpenTurn | UUID:
    """The turn is written down as running, with its hold; nobody has been asked yet.

    `context` was said elsewhere: agents are told it before the message, and nobody is called by its tags.

    A request that came before answers the id of the turn that it began.

    Raises NotFoundError, ModelNotFoundError, NoAgentsError, NoTaggedAgentsError, ContextBudgetExceededError,
    TooManyRequestsError, InsufficientCreditsError, WalletFrozenError, and ConflictError while another turn runs in the
    session: then nothing is stored and nothing is set aside.
    """
    told = f"{context}\n\n{message}" if context else message
    async with database.transaction() as tx:
        replay = await idempotency.look(tx, request)
        if replay is not None and replay.resource_id is not None:
            return replay.resource_id
        await _limit(tx, settings, user_id)
        running = (turns.c.session_id == session_id, turns.c.status.in_(("queued", "running")))
        if await tx.scalar(select(turns.c.id).where(*running)) is not None:
            raise _busy()
        plan = await plan_turn(tx, user_id, session_id, message, model_alias_override)
        least = _least_cost(plan, told)
    ends_at = clock.now() + timedelta(seconds=settings.turn_max_seconds)
    run = await meter.open_run(
        user_id, cap=settings.turn_cap_nanocredits, least=least, expires_at=ends_at + GRACE + LEASE
    )
    try:
        async with database.transaction() as tx:
            session = await get_session(tx, session_id, user_id=user_id, lock=True)
            await _refuse_too_many(tx, settings, user_id)
            # Read again under the lock: the room may have changed, and its new mode begins with this turn.
            plan = await plan_turn(tx, user_id, session_id, message, model_alias_override)
            turn = OpenTurn(
                id=ids.uuid7(),
                session_id=session.id,
                user_id=user_id,
                room_id=plan.room_id,
                api_key_id=api_key_id,
                turn_index=await _next_index(tx, session_id),
                mode=plan.mode,
                roster=plan.roster,
                user_input=told,
                goal=plan.goal,
                run=run,
                ends_at=ends_at,
            )
            if await idempotency.claim(tx, request, resource_id=turn.id) is not None:
                raise IdempotencyInProgressError(retry_after=1)
            await _store(tx, turn, worker=worker, cap=settings.turn_cap_nanocredits, override=model_alias_override)
    except BaseException as error:
        if run is not None:
            await meter.close_run(run)
        if isinstance(error, IntegrityError) and "turns_run_one_at_a_time" in str(error.orig):
            raise _busy() from None
        raise
    return turn


def _busy() -> ConflictError:
    return ConflictError("Another message is being answered in this session. Wait for it, or stop it.")


async def _limit(tx: Tx, settings: Settings, user_id: UUID) -> None:
    await rate_limit.hit(tx, f"turns:{user_id}", limit=settings.rate_limit_turns_per_minute, window_seconds=60)
    await rate_limit.hit(tx, f"turns:{user_id}:hour", limit=settings.rate_limit_turns_per_hour, window_seconds=3600)


async def _refuse_too_many(tx: Tx, settings: Settings, user_id: UUID) -> None:
    # Two at once would not see each other's turn.
    await locks.take(tx, Lock.TURNS_OF_USER, str(user_id))
    theirs = turns.join(chat_sessions, chat_sessions.c.id == turns.c.session_id)
    running = (chat_sessions.c.user_id == user_id, turns.c.status.in_(("queued", "running")))
    if (await tx.scalar(select(func.count()).select_from(theirs).where(*running)) or 0) >= settings.turns_max_open:
        raise TooManyRequestsError(
            f"{settings.turns_max_open} of your messages are being answered already. Wait until one has been.",
            retry_after=1,
        )


async def plan_turn(tx: Tx, user_id: UUID, session_id: UUID, message: str, override: str | None) -> Plan:
    """Raises NotFoundError, ModelNotFoundError, NoAgentsError, NoTaggedAgentsError."""
    session = await get_session(tx, session_id, user_id=user_id)
    if session.agent_id is not None:
        agent = await get_agent(tx, session.agent_id, user_id=user_id)
        return Plan(None, None, "direct", (await _member(tx, agent, override),))
    assert session.room_id is not None
    room = await get_room(tx, session.room_id, user_id=user_id)
    rows = (await tx.execute(query_roster(room.id, user_id))).mappings()
    agents = [room_agent_of(row, room.id).agent for row in rows]
    if not agents:
        raise NoAgentsError
    mode = room.pending_mode or room.current_mode
    if mode == "manual":
        agents = _tagged(agents, message)
    return Plan(room.id, room.goal, mode, tuple([await _member(tx, agent, override) for agent in agents]))


async def _member(tx: Tx, agent: Agent, override: str | None) -> Member:
    alias = override or agent.model_alias
    found = await model_in_force(tx, alias)
    if found is None:
        raise ModelNotFoundError(f"There is no model {alias} here. Choose another one for {agent.name}.")
    return Member.of(agent, found[1])


def _tagged(agents: list[Agent], message: str) -> list[Agent]:
    """Those that the message calls, in its order."""
    by_key = {agent.agent_key.lower(): agent for agent in agents}
    called = dict.fromkeys(tag.lower() for tag in _TAG.findall(message))
    found = [by_key[tag] for tag in called if tag in by_key]
    if not found:
        keys = ", ".join(f"@{agent.agent_key}" for agent in agents)
        raise NoTaggedAgentsError(f"In this room only agents that you tag answer. Write one of {keys}.")
    return found


def _least_cost(plan: Plan, message: str) -> int:
    """What the first answer takes at the least, so that no turn is begun that nobody could answer in."""
    counts = [most_text_tokens(message + (plan.goal or "")) + most_text_tokens(m.role_prompt) for m in plan.roster]
    for member, counted in zip(plan.roster, counts, strict=True):
        if counted + LEAST_OUTPUT > member.context_tokens:
            raise ContextBudgetExceededError(
                f"This message, with all that {member.name} is told before it, is about {counted} tokens, "
                f"and {member.name} can read {member.context_tokens}.",
                counted=counted,
                context_tokens=member.context_tokens,
            )
    return most(plan.roster[0].rate, input_tokens=counts[0], max_output_tokens=LEAST_OUTPUT)


async def _next_index(tx: Tx, session_id: UUID) -> int:
    last = await tx.scalar(select(func.max(turns.c.turn_index)).where(turns.c.session_id == session_id))
    return 0 if last is None else int(last) + 1


async def _store(tx: Tx, turn: OpenTurn, *, worker: str, cap: int, override: str | None) -> None:
    now = clock.now()
    await tx.execute(
        insert(turns).values(
            id=turn.id,
            session_id=turn.session_id,
            turn_index=turn.turn_index,
            mode=turn.mode,
            roster=[member.to_json() for member in turn.roster],
            user_input=turn.user_input,
            status="running",
            model_alias_override=override,
            api_key_id=turn.api_key_id,
            hold_id=turn.run.hold_id if turn.run else None,
            cap=cap if turn.run else None,
            leased_by=worker,
            leased_until=now + LEASE,
            created_at=now,
            started_at=now,
        )
    )
    await tx.execute(
        insert(messages).values(
            id=ids.uuid7(),
            session_id=turn.session_id,
            turn_id=turn.id,
            position=0,
            role="user",
            content=turn.user_input,
            state="completed",
            created_at=now,
        )
    )
    if turn.room_id is not None:
        changed = (rooms.c.id == turn.room_id, rooms.c.pending_mode.is_not(None))
        await tx.execute(
            update(rooms).where(*changed).values(current_mode=rooms.c.pending_mode, pending_mode=None, updated_at=now)
        )
