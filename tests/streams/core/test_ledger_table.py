"""Every state × every command, against a table written by hand from ARCHITECTURE.md section 3.

The job has lost its first attempt on ``w-old``; its second is the current one, on ``w-now`` where it runs.
"""

from dataclasses import replace

import pytest

from schemas.commands import COMMANDS, AccountCommand, AnyCommand, AskUsage
from schemas.failures import FAILURES, FailureCode
from schemas.jobs import AttemptEnd, Charge, ChargeState, EarlierAttempt, Failure, Job, Refusal
from schemas.lifecycle import TRANSITIONS, Fact, State
from schemas.requests import GenerationRequest
from streams.core.effects import WriteAccount, WriteJob
from tests.streams.core.ledger_documents import (
    NOON,
    SECOND,
    USER,
    Documents,
    cancel,
    delete,
    expired,
    failed,
    gone,
    handed_back,
    lost,
    output,
    retry,
    started,
    submit,
    succeeded,
)

S = State
RETRYABLE, TERMINAL = FailureCode.WORKER_CRASHED, FailureCode.INVALID_INPUT

COMMANDS_BY_NAME: dict[str, AnyCommand] = {
    "submit again": submit(command_id="other"),
    "submit other": submit(frames=37),
    "cancel": cancel(),
    "cancel any run": cancel(run=None),
    "cancel run 2": cancel(run=2),
    "delete": delete(),
    "retry": retry(),
    "retry run 2": retry(run=2),
    "retry run 0": retry(run=0),
    "started": started("w-now", 2),
    "started elsewhere": started("w-else", 2),
    "started old": started("w-old", 1),
    "succeeded": succeeded("w-now", 2),
    "succeeded elsewhere": succeeded("w-else", 2),
    "succeeded old": succeeded("w-old", 1),
    "succeeded old elsewhere": succeeded("w-else", 1),
    "failed, worth a try": failed("w-now", 2, RETRYABLE),
    "failed for good": failed("w-now", 2, TERMINAL),
    "failed elsewhere": failed("w-else", 2, TERMINAL),
    "failed old": failed("w-old", 1, RETRYABLE),
    "handed back": handed_back("w-now", 2),
    "handed back elsewhere": handed_back("w-else", 2),
    "handed back old": handed_back("w-old", 1),
    "lost": lost("w-now", 2),
    "lost elsewhere": lost("w-else", 2),
    "lost old": lost("w-old", 1),
    "ttl": expired(attempt=1),
    "ttl of run 2": expired(run=2, attempt=2),
    "timeout": expired(FailureCode.EXECUTION_TIMEOUT, attempt=2),
    "timeout of old attempt": expired(FailureCode.EXECUTION_TIMEOUT, attempt=1),
    "timeout of run 2": expired(FailureCode.EXECUTION_TIMEOUT, run=2, attempt=2),
}

# Rows: commands. Columns: the state before. Cells: the state after, or - where nothing is written.
GRID = """
                         queued     processing completed failed    cancelled timed_out rejected deleted
submit again             -          -          -         -         -         -         queued   -
submit other             -          -          -         -         -         -         -        -
cancel                   cancelled  cancelled  -         -         -         -         -        -
cancel any run           cancelled  cancelled  -         -         -         -         -        -
cancel run 2             -          -          -         -         -         -         -        -
delete                   deleted    deleted    deleted   deleted   deleted   deleted   deleted  -
retry                    -          -          -         queued    queued    queued    -        -
retry run 2              -          -          -         -         -         -         -        -
retry run 0              -          -          -         -         -         -         -        -
started                  processing -          -         -         -         -         -        -
started elsewhere        processing -          -         -         -         -         -        -
started old              -          -          -         -         -         -         -        -
succeeded                completed  completed  -         -         -         -         -        -
succeeded elsewhere      completed  -          -         -         -         -         -        -
succeeded old            completed  -          -         -         -         -         -        -
succeeded old elsewhere  -          -          -         -         -         -         -        -
failed, worth a try      queued     queued     -         -         -         -         -        -
failed for good          failed     failed     -         -         -         -         -        -
failed elsewhere         failed     -          -         -         -         -         -        -
failed old               -          -          -         -         -         -         -        -
handed back              queued     queued     -         -         -         -         -        -
handed back elsewhere    queued     -          -         -         -         -         -        -
handed back old          -          -          -         -         -         -         -        -
lost                     queued     queued     -         -         -         -         -        -
lost elsewhere           queued     -          -         -         -         -         -        -
lost old                 -          -          -         -         -         -         -        -
ttl                      timed_out  timed_out  -         -         -         -         -        -
ttl of run 2             -          -          -         -         -         -         -        -
timeout                  timed_out  timed_out  -         -         -         -         -        -
timeout of old attempt   -          -          -         -         -         -         -        -
timeout of run 2         -          -          -         -         -         -         -        -
"""

# What is announced as discarded: o = attempt 1 on w-old, n = attempt 2 on w-now, e = attempt 2 on w-else,
# x = attempt 1 on w-else. A finished job names again what it left behind; a queued one nothing that may still deliver.
# A rejected job never had an attempt: nothing is known against one (the document may be a restored one).
DISCARDS = """
                         queued processing completed failed cancelled timed_out rejected deleted
cancel                   o      on         o         on     on        on        -        -
delete                   -      -          -         -      -         -         -        -
retry                    -      o          o         on     on        on        -        -
started                  o      o          o         on     on        on        -        n
started elsewhere        o      oe         oe        one    one       one       -        e
started old              -      o          o         on     on        on        -        o
succeeded                o      o          o         on     on        on        -        n
succeeded elsewhere      o      oe         oe        one    one       one       -        e
succeeded old            -      o          o         on     on        on        -        o
succeeded old elsewhere  x      ox         ox        onx    onx       onx       -        x
failed, worth a try      on     on         o         on     on        on        -        n
failed for good          on     on         o         on     on        on        -        n
failed old               -      o          o         on     on        on        -        o
handed back              o      o          o         on     on        on        -        n
lost                     o      o          o         on     on        on        -        n
lost elsewhere           o      oe         oe        one    one       one       -        e
ttl                      o      on         o         on     on        on        -        -
"""
LETTERS = {"o": (1, "w-old"), "n": (2, "w-now"), "e": (2, "w-else"), "x": (1, "w-else")}

CHARGE_OF = {
    S.QUEUED: ChargeState.RESERVED,
    S.PROCESSING: ChargeState.RESERVED,
    S.COMPLETED: ChargeState.CAPTURED,
    S.FAILED: ChargeState.REFUNDED,
    S.CANCELLED: ChargeState.REFUNDED,
    S.TIMED_OUT: ChargeState.REFUNDED,
    S.REJECTED: ChargeState.NONE,
}


def cells(grid: str) -> list[tuple[str, State, str]]:
    head, *rows = grid.strip("\n").splitlines()
    states = [State(name) for name in head.split()]
    read = []
    for row in rows:
        name, found = row[:24].strip(), row[24:].split()
        assert len(found) == len(states), row
        read += [(name, state, cell) for state, cell in zip(states, found, strict=True)]
    return read


def job_in(state: State) -> Job:
    """A job in this state, as the ledger would have written it."""
    early = EarlierAttempt(attempt=1, worker_id="w-old", end=AttemptEnd.LOST, code=FailureCode.WORKER_LOST)
    job = Job(
        job_id="j1",
        user_id=USER,
        pool="mochi-1",
        state=state,
        version=7,
        request=GenerationRequest(prompt="a corgi", negative_prompt="blur", num_frames=31),
        request_hash="hash-31",
        charge=Charge(
            state=CHARGE_OF.get(state, ChargeState.CAPTURED), seconds=31 / 24, reserved_at=NOON - 50 * SECOND
        ),
        created_at=NOON - 50 * SECOND,
        updated_at=NOON - SECOND,
        due_at=NOON - 50 * SECOND,
        expires_at=NOON + 50 * SECOND,
        execution_timeout_ms=60_000,
        attempt=2,
        tries=2,
        previous_worker_id="w-old",
        earlier_attempts=(early,),
        webhook="https://example.org/hook",
    )
    if state is S.QUEUED:
        return job
    if state is S.REJECTED:
        refusal = Refusal(command_id="submit-j1", code=FailureCode.RATE_LIMITED, refused_at=NOON - 50 * SECOND)
        return replace(
            job,
            refusal=refusal,
            attempt=1,
            tries=1,
            previous_worker_id=None,
            earlier_attempts=(),
            finished_at=NOON - SECOND,
            failure=Failure(code=FailureCode.RATE_LIMITED, message="m"),
        )
    job = replace(job, worker_id="w-now", started_at=NOON - 2 * SECOND)
    if state is S.PROCESSING:
        return job
    job = replace(job, finished_at=NOON - SECOND)
    if state is S.COMPLETED:
        return replace(job, winning_attempt=2, output=output("w-now", 2))
    return replace(job, failure=Failure(code=FailureCode.INVALID_INPUT, message="m"))


def world(state: State) -> Documents:
    documents = Documents()
    documents.put(job_in(state))
    return documents


def test_the_tables_are_total() -> None:
    """Every command about jobs and every state has its cell."""
    account_commands = set(AccountCommand.__args__)  # type: ignore[attr-defined]
    named = {type(command) for command in COMMANDS_BY_NAME.values()}
    assert named == set(COMMANDS) - account_commands - {AskUsage}
    assert {name for name, _, _ in cells(GRID)} == set(COMMANDS_BY_NAME)
    assert len(cells(GRID)) == len(COMMANDS_BY_NAME) * len(State)


@pytest.mark.parametrize(("name", "state", "after"), cells(GRID))
def test_state_and_command(name: str, state: State, after: str) -> None:
    documents, command = world(state), COMMANDS_BY_NAME[name]
    before = documents.job()
    decision = documents.do(command)
    job = documents.job()
    assert decision.jobs == (job,), "the document that holds is announced, changed or not"
    if after == "-":
        assert decision.write is None
        assert job == before
        return
    assert isinstance(decision.write, WriteAccount if name in ("retry", "submit again") else WriteJob)
    assert (job.state, job.version) == (after, before.version + 1)
    assert job.updated_at > before.updated_at
    if job.state is not S.DELETED:
        assert job.charge.state is CHARGE_OF[job.state]
    assert documents.do(command).write is None, "told twice, it changes nothing more"


@pytest.mark.parametrize(("name", "state", "letters"), cells(DISCARDS))
def test_what_is_discarded(name: str, state: State, letters: str) -> None:
    documents = world(state)
    first = documents.do(COMMANDS_BY_NAME[name])
    assert gone(first) == {LETTERS[letter] for letter in letters if letter != "-"}
    visible = documents.job().output
    if visible and visible.video:
        won = (documents.job().winning_attempt, documents.job().worker_id)
        assert won not in gone(first)
    assert gone(documents.do(COMMANDS_BY_NAME[name])) >= gone(first), "a crash before the announcement loses no file"


def test_every_edge_of_the_life_cycle_is_taken() -> None:
    """The ledger reaches all that the table has: no row is dead."""
    by_fact = {
        Fact.STARTED: "started",
        Fact.SUCCEEDED: "succeeded",
        Fact.RETRY: "failed, worth a try",
        Fact.HANDED_BACK: "handed back",
        Fact.GAVE_UP: "failed for good",
        Fact.CANCELLED: "cancel",
        Fact.EXPIRED: "ttl",
        Fact.RETRIED: "retry",
        Fact.DELETED: "delete",
    }
    for state, row in TRANSITIONS.items():
        for fact in Fact:
            documents = world(state)
            decision = documents.do(COMMANDS_BY_NAME[by_fact[fact]])
            assert (documents.job().state if decision.write else None) == row.get(fact)


def test_every_failure_code_says_whether_another_try_helps() -> None:
    for code, words in FAILURES.items():
        documents = world(S.PROCESSING)
        documents.do(failed("w-now", 2, code, "no such word"))
        assert documents.job().state is (S.QUEUED if words.retryable else S.FAILED)
