"""The one timer of all live connections."""

import asyncio
from dataclasses import dataclass, field

from gateway.live.wheel import STEP_S, Wheel
from tests.gateway.world import until


@dataclass
class Clockwork:
    """Notes when it is asked, and wants to be asked again at these moments."""

    wants: list[float] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    slot: int | None = None
    fails: bool = False

    def tick(self, now: float) -> float | None:
        self.asked.append(now)
        if self.fails:
            raise RuntimeError("a defect")
        return self.wants.pop(0) if self.wants else None


def wheel() -> tuple[Wheel, float]:
    loop = asyncio.get_running_loop()
    return Wheel(loop.time), loop.time()


async def test_each_is_asked_when_its_moment_has_come_and_not_before() -> None:
    turning, now = wheel()
    late, soon = Clockwork(), Clockwork(wants=[now + 4 * STEP_S])
    turning.set(late, now + 6 * STEP_S)
    turning.set(soon, now + STEP_S)
    await until(lambda: late.asked)
    assert len(soon.asked) == 2
    assert soon.asked[0] >= now + STEP_S
    assert soon.asked[1] >= now + 4 * STEP_S
    assert late.asked[0] >= now + 6 * STEP_S
    assert len(late.asked) == 1


async def test_an_earlier_moment_counts_a_later_one_does_not_and_nobody_is_asked_twice() -> None:
    turning, now = wheel()
    one = Clockwork()
    turning.set(one, now + 10 * STEP_S)
    turning.set(one, now + STEP_S)
    turning.set(one, now + 5 * STEP_S)
    last = Clockwork()
    turning.set(last, now + 12 * STEP_S)
    await until(lambda: last.asked)
    assert len(one.asked) == 1
    assert one.asked[0] < last.asked[0]


async def test_one_that_fails_stops_nobody_elses_clock_and_a_stopped_wheel_asks_nobody() -> None:
    turning, now = wheel()
    broken, sound, never = Clockwork(fails=True), Clockwork(), Clockwork()
    turning.set(broken, now + STEP_S)
    turning.set(sound, now + STEP_S)
    await until(lambda: sound.asked)
    turning.set(never, now)
    turning.stop()
    again = Clockwork()
    turning.set(again, now)
    await until(lambda: again.asked)
    assert never.asked == []
