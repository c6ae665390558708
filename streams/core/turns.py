"""Who is sent to next: nobody's slow endpoints, however many deliveries wait for them, hold the places of others.

Three bounds. Mails have places of their own. Users with the fewest tries under way come first. And what is suspect (a
try to an endpoint that failed last, one that takes long, a user's second and further ones) holds half of the places at
most before only those are begun who are not: so somebody new finds a place.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from schemas.deliveries import MAIL
from streams.core.deliveries import SendingPolicy


@dataclass(frozen=True, slots=True)
class Running:
    """A try under way, ``since`` (ms). ``endpoint_id``: the delivery's place, see ``schemas.deliveries.Delivery``."""

    user_id: str
    endpoint_id: str
    since: int


@dataclass(frozen=True, slots=True)
class Places:
    """What may be begun now: so many ``webhooks``, none ``not_of`` these users, none ``not_to`` these endpoints."""

    webhooks: int
    not_of: frozenset[str] = frozenset()
    not_to: frozenset[str] = frozenset()

    def take(self, user_id: str, endpoint_id: str) -> bool:
        """Whether this webhook may have one of them."""
        return self.webhooks > 0 and user_id not in self.not_of and endpoint_id not in self.not_to


def mails_free(running: Collection[Running], policy: SendingPolicy) -> int:
    """How many mails may be begun now."""
    return max(0, policy.mails - sum(one.endpoint_id == MAIL for one in running))


def places(
    running: Collection[Running], doubted: Collection[str], now: int, most: int, policy: SendingPolicy
) -> Places:
    """The places for webhooks of users who have fewer than ``most`` under way.

    ``doubted``: the endpoints whose last try failed.
    """
    webhooks = [one for one in running if one.endpoint_id != MAIL]
    room = policy.at_once - policy.mails
    users = Counter(one.user_id for one in webhooks)
    endpoints = Counter(one.endpoint_id for one in webhooks)
    half_is_held = _suspect(webhooks, doubted, now, policy) >= room // 2
    most = 1 if half_is_held else min(most, policy.per_user)
    full = {one for one, count in endpoints.items() if count >= (1 if one in doubted else policy.per_endpoint)}
    return Places(
        webhooks=max(0, room - len(webhooks)),
        not_of=frozenset(user for user, count in users.items() if count >= most),
        not_to=frozenset({MAIL, *full, *(doubted if half_is_held else ())}),
    )


def _suspect(webhooks: Collection[Running], doubted: Collection[str], now: int, policy: SendingPolicy) -> int:
    """How many of these are to be held to half of the places."""
    good = {one.user_id for one in webhooks if one.endpoint_id not in doubted and now - one.since < policy.slow_ms}
    return len(webhooks) - len(good)  # one good try of each user is beyond suspicion
