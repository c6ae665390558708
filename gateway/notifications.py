"""What the routes of users' webhooks need."""

from dataclasses import dataclass

from gateway.core.allowance import Allowance
from gateway.notification_settings import NotificationSettings
from repo.core.addresses import Rules
from repo.deliveries import DeliveryStore
from repo.outgoing import Resolver

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Notifications:
    """``changes`` is the users' allowance of changes, ``per_user`` how many endpoints each may have."""

    store: DeliveryStore
    rules: Rules
    resolver: Resolver
    changes: Allowance
    per_user: int


def notifications_of(store: DeliveryStore, settings: NotificationSettings) -> Notifications:
    """As the settings say."""
    rules = settings.webhook_rules
    changes = Allowance(settings.webhook_changes, MINUTE_MS)
    return Notifications(store, rules, Resolver(rules), changes, settings.webhooks_per_user)
