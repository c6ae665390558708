"""The worker in every situation against every input: what holds whatever happens."""

from collections.abc import Callable

import pytest

from inference_worker.core.child_life import ChildPhase
from inference_worker.core.effects import (
    Generate,
    Report,
)
from inference_worker.core.inputs import Acked, Input, Leave, Tick
from inference_worker.core.step import step
from schemas.commands import AttemptSucceeded
from schemas.dispatch import WorkerBeat, WorkerState
from tests.inference_worker.core.worker_world import (
    LIMITS,
    Driver,
    done,
    drain,
    failed,
    gone,
    heartbeat,
    loading,
    not_stored,
    of,
    order,
    preview,
    progress,
    ready,
    said,
    stop,
    stopped,
    stored,
    stored_some,
    unloadable,
)

W = WorkerState


Situation = Callable[[], Driver]


def fed(*inputs: Input, acking: bool = True) -> Situation:
    def made() -> Driver:
        driver = Driver(acking=acking)
        driver.feed(*inputs)
        return driver

    return made


def killed() -> Driver:
    driver = Driver(acking=False).busy()
    driver.feed(stop())
    driver.wait(LIMITS.stop_grace_ms)
    return driver


UP = (Tick(), ready())


SITUATIONS: dict[str, Situation] = {
    "new": fed(),
    "loading": fed(Tick()),
    "child lost while loading": fed(Tick(), gone()),
    "ready": fed(*UP),
    "child lost while ready": fed(*UP, gone()),
    "generating": fed(*UP, order()),
    "stopping": fed(*UP, order(), stop()),
    "uploading": fed(*UP, order(), done()),
    "ending": fed(*UP, order(), done(), stored(), acking=False),
    "failed and doubted": fed(*UP, order(), failed()),
    "crashed and unacknowledged": fed(*UP, order(), gone(), acking=False),
    "killed": killed,
    "defunct": fed(Tick(), unloadable()),
    "defunct, child gone": fed(Tick(), unloadable(), gone()),
    "draining while generating": fed(*UP, order(), drain()),
    "draining while uploading": fed(*UP, order(), done(), drain()),
    "leaving": fed(*UP, order(), Leave(), acking=False),
    "exited": fed(*UP, Leave()),
}


INPUTS: dict[str, Input] = {
    "tick": Tick(),
    "leave": Leave(),
    "loading": loading(),
    "ready": ready(),
    "unloadable": unloadable(),
    "heartbeat": heartbeat(),
    "progress": progress(),
    "preview": preview(),
    "done": done(),
    "failed": failed(),
    "stopped": stopped(),
    "child gone": gone(),
    "run": order(),
    "run another": order("j2"),
    "stop": stop(),
    "stop another": stop("j2"),
    "drain": drain(),
    "drain now": drain(now=True),
    "stored some": stored_some(),
    "stored": stored(),
    "not stored": not_stored(),
    "acked": Acked("j1:1:w1:s1:succeeded"),
    "acked something": Acked("who knows"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("waited_ms", [0, 250, 3_000])
def test_every_situation_meets_every_input(situation: str, name: str, waited_ms: int) -> None:
    driver = SITUATIONS[situation]()
    before = driver.worker
    after, effects = step(before, INPUTS[name], driver.now + waited_ms)
    again, same_effects = step(before, INPUTS[name], driver.now + waited_ms)
    assert (after, effects) == (again, same_effects)
    assert after.sequence >= before.sequence
    if before.exited:
        assert (after, effects) == (before, ())
        return
    assert not (after.state is W.READY and after.child.phase is not ChildPhase.UP)
    assert (after.attempt is not None) == (after.state is W.BUSY) or after.state is W.DRAINING
    assert len(of(Generate, list(effects))) == (situation == "ready" and name.startswith("run"))
    verdicts = [e for e in of(Report, list(effects)) if not e.command.command_id.endswith("started")]
    assert len(verdicts) <= 1
    if any(isinstance(report.command, AttemptSucceeded) for report in verdicts):
        assert name == "stored"
    if after.state is not before.state and not after.exited:
        assert of(WorkerBeat, said(list(effects)))[-1].state is after.state
