"""Which faults a seed switches on, how often they strike, and who strikes ("swarm testing": each seed a random subset).

Groce et al., "Swarm Testing" (ISSTA 2012): runs that leave faults out reach states that runs with all of them never do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

# Fault: the range its rate is drawn from. Chances a call, or strikes a minute where the name says ``a_minute``.
RATES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "record_twice": (0.02, 0.3),
        "slow_record": (0.02, 0.3),
        "record_unanswered": (0.01, 0.1),
        "slow_store": (0.02, 0.2),
        "write_unanswered": (0.01, 0.15),
        "late_write": (0.01, 0.05),
        "slow_commit": (0.3, 1.0),
        "late_revocation": (0.3, 1.0),
        "kafka_away_a_minute": (0.2, 1.5),
        "mongodb_away_a_minute": (0.2, 1.5),
        "s3_away_a_minute": (0.2, 2.0),
        "kill_streams_a_minute": (0.5, 6.0),
        "hang_streams_a_minute": (0.5, 3.0),
        "move_partitions_a_minute": (0.5, 4.0),
        "kill_worker_a_minute": (0.5, 4.0),
        "end_worker_a_minute": (0.5, 3.0),
        "hang_worker_a_minute": (0.5, 4.0),
        "cut_worker_off_a_minute": (0.5, 4.0),
        "drain_worker_a_minute": (0.2, 1.0),
        "kill_between_effects": (0.001, 0.01),
        "child_dies": (0.01, 0.2),
        "child_fails": (0.05, 0.4),
        "child_stalls": (0.01, 0.1),
        "child_deaf": (0.05, 0.5),
        "child_unloadable": (0.05, 0.3),
        "upload_slow": (0.1, 0.5),
        "user_deleted_a_minute": (0.1, 0.6),
    }
)


# What only worlds with external workers know of; drawn apart, so that the others are as they were.
EXTERNAL_RATES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "kill_gateway_a_minute": (0.2, 2.0),
        "kill_pod_a_minute": (0.5, 4.0),
        "hang_pod_a_minute": (0.5, 3.0),
        "answer_lost": (0.02, 0.3),
        "handler_fails": (0.05, 0.4),
    }
)


@dataclass(slots=True)
class Plan:
    """A seed's faults and surroundings. ``calm`` ends all faults at once."""

    random: Random
    rates: Mapping[str, float] = field(default_factory=dict)
    calm: bool = False

    def strikes(self, fault: str) -> bool:
        """Whether this chance is taken. Draws nothing where the fault is off, so that it disturbs no other."""
        rate = 0.0 if self.calm else self.rates.get(fault, 0.0)
        return rate > 0.0 and self.random.random() < rate

    def within(self, fault: str, ms: int) -> bool:
        """Whether a fault with a rate a minute strikes in this span."""
        rate = 0.0 if self.calm else self.rates.get(fault, 0.0)
        return rate > 0.0 and self.random.random() < rate * ms / 60_000


def swarm(random: Random, *, external: bool = False) -> Plan:
    """About half of the faults, some seeds few and some nearly all, each with a rate of its own."""
    share = random.choice((0.0, 0.2, 0.5, 0.5, 0.8, 1.0))
    known = {**RATES, **EXTERNAL_RATES} if external else RATES
    rates = {name: random.uniform(*bounds) for name, bounds in known.items() if random.random() < share}
    return Plan(random, rates)


Strike = Callable[[], None]
LOOK_MS = 500
STRIKES = tuple(name for name in (*RATES, *EXTERNAL_RATES) if name.endswith("_a_minute"))


def struck(plan: Plan, strikes: Mapping[str, Strike]) -> None:
    """One look at every timed fault; call it every ``LOOK_MS``."""
    for name in STRIKES:
        if plan.within(name, LOOK_MS):
            strikes[name]()
