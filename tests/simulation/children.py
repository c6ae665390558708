"""The worker's child as the simulation has it: it loads, makes videos step by step, and does all the wrong things.

Once a second it says what the real one says (``inference_worker/messages.py``). It runs beside its parent, which reads
what it said when it gets to it.
"""

from collections.abc import Callable
from pathlib import Path

from inference_worker.core.inputs import ChildGone, Heard
from inference_worker.messages import (
    AttemptStopped,
    Done,
    Failed,
    FromChild,
    Heartbeat,
    Loading,
    Media,
    MediaFile,
    Progress,
    Ready,
    Unloadable,
)
from schemas.dispatch import RunAttempt
from schemas.failures import FailureCode
from schemas.phases import Phase
from tests.simulation.faults import Plan
from tests.simulation.world import Process, World

ENGINE = "simulated"
CODES = (
    FailureCode.ENGINE_ERROR,
    FailureCode.OUT_OF_MEMORY,
    FailureCode.TRANSIENT_ERROR,
    FailureCode.INVALID_INPUT,
)


def _file(name: str, media_type: str) -> MediaFile:
    return MediaFile(path=Path(name), bytes=3, sha256="00", media_type=media_type)


MEDIA = Media(
    video=_file("video.mp4", "video/mp4"),
    poster=_file("poster.jpg", "image/jpeg"),
    thumbnail=_file("thumbnail.webp", "image/webp"),
    width=96,
    height=64,
    frames=7,
    fps=24,
    duration=7 / 24,
)


class Child:
    """One child process. ``say`` hands its words to the parent; it stops being called once the parent is dead."""

    def __init__(
        self, world: World, plan: Plan, name: str, number: int, say: Callable[[Heard | ChildGone], None]
    ) -> None:
        self.process = Process(world, f"{name}/child{number}")
        self._world, self._plan, self._number, self._say = world, plan, number, say
        self._order: RunAttempt | None = None
        self._stop: tuple[str, int] | None = None
        self._left = 0
        self._moved = 0
        self._fate = ""
        self.process.spawn(self._live())

    def generate(self, order: RunAttempt) -> None:
        self._order, self._stop = order, None
        self._left = self._world.between(2, 12)
        self._fate = next(
            (fate for fate in ("child_dies", "child_fails", "child_stalls") if self._plan.strikes(fate)), ""
        )

    def stop(self, job_id: str, attempt: int) -> None:
        if not self._plan.strikes("child_deaf"):
            self._stop = job_id, attempt

    def kill(self) -> None:
        """Its end is seen a moment later."""
        if self.process.alive:
            self.process.kill()
            self._world.at(
                self._world.between(1, 300), lambda: self._say(ChildGone(self._number, "It was killed by SIGKILL."))
            )

    async def _live(self) -> None:
        if not await self._load():
            return
        while True:
            await self._world.sleep(self._world.between(700, 1_300))
            self._tell(Heartbeat(progress=self._moved))
            if self._order and self._work(self._order):
                return

    async def _load(self) -> bool:
        parts = self._world.between(1, 5)
        unloadable = self._plan.strikes("child_unloadable")
        for part in range(1, parts + 1):
            await self._world.sleep(self._world.between(500, 1_500))
            self._tell(Loading(engine=ENGINE, step=part, steps=parts))
        if not unloadable:
            self._tell(Ready(engine=ENGINE, device="none"))
            return True
        code = FailureCode.MODEL_UNAVAILABLE
        self._tell(Unloadable(engine=ENGINE, code=code, message="The weights are not there."))
        self.kill()
        return False

    def _work(self, order: RunAttempt) -> bool:
        """One step; whether it was this process's last."""
        named = {"job_id": order.job_id, "attempt": order.attempt}
        if self._stop == (order.job_id, order.attempt):
            self._order = None
            self._tell(AttemptStopped(job_id=order.job_id, attempt=order.attempt))
            return False
        if self._fate == "child_stalls":
            return False
        if self._left > 1 or not self._fate:
            self._left -= 1
            self._moved += 1
        if self._left > 0 and not (self._left == 1 and self._fate):
            progress = Progress(
                job_id=order.job_id,
                attempt=order.attempt,
                phase=Phase.DENOISE,
                step=self._moved,
                steps=self._moved + self._left,
                elapsed_ms=1_000,
                phase_ms=1_000,
            )
            self._tell(progress)
            return False
        self._order = None
        if self._fate == "child_dies":
            self.kill()
            return True
        if self._fate == "child_fails":
            words = self._world.random.choice(("the model failed", "internal error"))
            self._tell(Failed(**named, code=self._world.random.choice(CODES), message=words))  # type: ignore[arg-type]
        else:
            self._tell(Done(job_id=order.job_id, attempt=order.attempt, media=MEDIA))
        return False

    def _tell(self, message: FromChild) -> None:
        self._say(Heard(self._number, message))
