"""One run: a seed makes a world, faults strike it for a while, then everything must come to rest, and be right."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

from schemas.codec import encode
from schemas.dispatch import DrainWorker
from schemas.endpoints import EndpointLimits, external_pool
from schemas.instants import from_datetime, to_datetime
from schemas.topics import DISPATCH
from streams.core.policy import Policy
from streams.core.quota import month_of
from streams.settings import Role
from tests.simulation.checkers import Edge, Safety
from tests.simulation.clients import Client
from tests.simulation.faults import LOOK_MS, Plan, Strike, struck, swarm
from tests.simulation.pods import ENDPOINT, Gateway, Pod
from tests.simulation.processes import Servers, StreamsProcess
from tests.simulation.servers import Broker, Bucket, Database, located
from tests.simulation.settlement import (
    Idleness,
    check_answers,
    check_documents,
    check_events,
    check_replay,
    leftovers,
    orphans,
    unrest,
)
from tests.simulation.workers import Slot
from tests.simulation.world import Row, World

POOLS = ("mochi", "tiny")
USERS = ("ann", "bob", "cas")
EXTERNAL_POOL = external_pool(ENDPOINT)
DAY = 86_400_000
FAULTS_MS = 100_000
SETTLE_MS = 900_000
GRACE_MS = 120_000
IDLE_MS = 6_000
REST_MS = 20_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run met and left: its trace, how often each edge of the life-cycle table was taken, what it counted."""

    rows: list[Row]
    edges: Counter[Edge]
    settled_ms: int
    writes: int
    orphans: list[str]


class Simulation:
    """All parts of one world. ``rates``: these faults instead of those that the seed draws."""

    def __init__(self, seed: int, rates: Mapping[str, float] | None = None) -> None:
        draw = Random(f"surroundings of {seed}")
        self.world = World(seed, _start(draw))
        draw_fault = Random(f"faults of {seed}")
        self.external = seed % 5 in (2, 3)
        self.plan: Plan = swarm(draw_fault, external=self.external) if rates is None else Plan(draw_fault, rates)
        self.policy = _policy(draw)
        self.pools = list(POOLS[: draw.choice((1, 2))])
        world, plan = self.world, self.plan
        self.database, self.bucket = Database(world, plan), Bucket(world, plan)
        all_pools = [*self.pools, EXTERNAL_POOL] if self.external else self.pools
        self.servers = Servers(Broker(world, plan), self.database, self.bucket, all_pools)
        self.safety = Safety(world, self.database, self.bucket, self.policy)
        self._gateway_number = 0
        self.streams: list[StreamsProcess] = []
        self._started: Counter[Role] = Counter()
        for role, copies in ((Role.LEDGER, 2), (Role.SCHEDULER, 2), (Role.JANITOR, 1)):
            for _ in range(copies):
                self._start_streams(role)
        count = draw.choice((2, 3, 3, 4))
        pools = [*self.pools, *(draw.choice(self.pools) for _ in range(count - len(self.pools)))]
        self.slots = [Slot(world, self.servers, f"w{number}", pool) for number, pool in enumerate(pools, start=1)]
        self.gateways: list[Gateway] = []
        self.pods: list[Pod] = []
        endpoints = self._external_workers() if self.external else {}
        self.clients = [
            Client(world, self.servers.broker, user, self.pools, self.database.jobs, endpoints) for user in USERS
        ]

    def run(self) -> Outcome:
        """Raises ``SimulationFailed``."""
        try:
            return self._run()
        finally:
            self.world.close()

    def _run(self) -> Outcome:
        world = self.world
        world.note("world", "faults", "", " ".join(f"{name}={rate:.3f}" for name, rate in self.plan.rates.items()))
        for _ in range(0, FAULTS_MS, LOOK_MS):
            struck(self.plan, self._strikes())
            world.run(LOOK_MS)
        self._calm()
        settled = self._settle()
        check_documents(world, self.database, self.policy)
        check_events(world, self.servers.broker, self.safety)
        check_answers(world, self.servers.broker)
        for later_ms in (0, DAY // 24):
            check_replay(world, self.servers, self.policy, later_ms)
        check_replay(world, self.servers, self.policy, 40 * DAY, marked=True)
        lost = orphans(self.slots, self.safety) & set(leftovers(self.servers))
        return Outcome(world.rows, self.safety.edges, settled, self.safety.writes, sorted(lost))

    def _strikes(self) -> dict[str, Strike]:
        between, choice = self.world.between, self.world.random.choice
        streams = [one for one in self.streams if one.process.alive]
        return {
            "kafka_away_a_minute": lambda: self.servers.broker.leave(between(500, 20_000)),
            "mongodb_away_a_minute": lambda: self.database.leave(between(500, 20_000)),
            "s3_away_a_minute": lambda: self.bucket.leave(between(500, 60_000)),
            "kill_streams_a_minute": lambda: self._kill(choice(streams)) if streams else None,
            "hang_streams_a_minute": lambda: choice(streams).hang(between(500, 12_000)) if streams else None,
            "move_partitions_a_minute": self._move_partitions,
            "kill_worker_a_minute": lambda: choice(self.slots).kill(),
            "end_worker_a_minute": lambda: choice(self.slots).end(),
            "hang_worker_a_minute": self._hang_workers,
            "cut_worker_off_a_minute": lambda: choice(self.slots).cut_off(between(5_000, 60_000)),
            "drain_worker_a_minute": lambda: self._drain(choice(self.slots)),
            "user_deleted_a_minute": lambda: choice(self.clients).delete_user(),
            "kill_gateway_a_minute": lambda: self._kill_gateway(choice(self.gateways)),
            "kill_pod_a_minute": lambda: choice(self.pods).kill(),
            "hang_pod_a_minute": lambda: choice(self.pods).hang(between(500, 60_000)),
        }

    def _external_workers(self) -> dict[str, tuple[str, EndpointLimits]]:
        """Two gateways and some pods; and the endpoints, by name: their pools and limits. One of them is on our own
        workers."""
        random = self.world.random
        for _ in range(2):
            self._start_gateway()
        for number in range(1, random.choice((2, 3, 4))):
            self.pods.append(Pod(self.world, self.servers, self.gateways, f"pod{number}", EXTERNAL_POOL))
        self.servers.pods = self.pods
        limits = EndpointLimits(
            max_active=random.choice((2, 6, 20)),
            rate_limit=random.choice((2, 8, 50)),
            rate_window_ms=random.choice((5_000, 20_000, 60_000)),
        )
        return {ENDPOINT: (EXTERNAL_POOL, limits), "engine": (self.pools[0], replace(limits, max_active=3))}

    def _start_gateway(self) -> None:
        self._gateway_number += 1
        self.gateways.append(Gateway(self.world, self.servers, EXTERNAL_POOL, self._gateway_number))
        self.world.note(self.gateways[-1].process.name, "started")

    def _kill_gateway(self, gateway: Gateway) -> None:
        gateway.die()
        self.gateways.remove(gateway)
        self.world.at(self.world.between(500, 20_000), self._start_gateway)

    def _start_streams(self, role: Role) -> None:
        self._started[role] += 1
        name = f"{role}{self._started[role]}"
        self.world.note(name, "started")
        self.streams = [one for one in self.streams if one.process.alive]
        self.streams.append(StreamsProcess(self.world, self.servers, role, name, self.policy))

    def _kill(self, process: StreamsProcess) -> None:
        process.kill()
        self.world.at(self.world.between(100, 10_000), lambda: self._start_streams(process.role))

    def _move_partitions(self) -> None:
        self.servers.groups[self.world.random.choice(list(self.servers.groups))].rebalance()

    def _hang_workers(self) -> None:
        """One, or all at once: then nobody takes over what they lost, and they may still deliver it."""
        hung = self.slots if self.world.random.random() < 0.3 else [self.world.random.choice(self.slots)]
        for slot in hung:
            slot.hang(self.world.between(500, 60_000))

    def _drain(self, slot: Slot) -> None:
        """An operator's word, through the log."""
        order = DrainWorker(
            command_id=f"drain{self.world.now}",
            pool=slot.pool,
            worker_id=slot.name,
            now=self.world.random.random() < 0.5,
        )
        self.world.note("operator", "drains", slot.name, f"now={order.now}")
        self.servers.broker.land(
            encode(order, source="/openv/operator", at=self.world.now), located(DISPATCH.name, slot.pool.encode())
        )

    def _calm(self) -> None:
        """No more faults and no more wishes; what was killed comes back, but for a worker that is given up for good."""
        self.world.note("world", "calm")
        self.plan.calm = True
        for server in (self.servers.broker, self.database, self.bucket):
            server.come_back()
        for client in self.clients:
            client.process.kill()
        spare = self.slots[len(self.pools) :]
        if spare and "kill_worker_a_minute" in self.plan.rates and self.world.random.random() < 0.3:
            spare[0].gone = True
            spare[0].kill()

    def _settle(self) -> int:
        """Let time pass until all has been at rest for a while; how long that took."""
        world = self.world
        began = world.now
        idleness = Idleness(world, IDLE_MS)
        rested = began
        while world.now - rested < REST_MS:
            world.run(1_000)
            if world.now - began > GRACE_MS:
                idleness.look(self.database, [*self.slots, *self.pods])
            restless = unrest(self.servers, self.slots, self.streams, self.safety)
            if restless:
                rested = world.now
            if rested - began > SETTLE_MS:
                world.fail(f"no rest after {SETTLE_MS // 1000} s without faults: {restless}")
        return rested - began


def _start(draw: Random) -> int:
    """Some day; in some worlds the month ends while faults strike."""
    day = from_datetime(to_datetime(1_790_000_000_000 + draw.randrange(300) * DAY))
    if draw.random() < 0.7:
        return day
    return month_of(day)[1] - draw.randrange(5_000, FAULTS_MS)


def _policy(draw: Random) -> Policy:
    credited = draw.random() < 0.3
    return Policy(
        monthly_limit_seconds=draw.choice((12.0, 60.0, 600.0, 600.0)),
        max_active=draw.choice((2, 3, 8)),
        rate_limit=draw.choice((3, 8, 20)),
        max_retries=draw.choice((0, 1, 2)),
        execution_timeout_ms=draw.choice((20_000, 60_000, 60_000)),
        credits_required=credited,
        credits_per_video=2.0 if credited else 0.0,
        refund_on_cancel=draw.choice(("all", "all", "used", "none")),
    )
