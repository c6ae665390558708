"""From settings to what the slots share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from inference_worker.remote.book import Book
from inference_worker.remote.desk import Desk, Patience
from inference_worker.remote.service import Service
from inference_worker.remote.settings import RunPodSettings, Signing
from inference_worker.remote.starting import require_all, tell
from repo.clock import now_ms
from repo.database import Database
from repo.download import Bounds
from repo.outgoing import Outgoing


@asynccontextmanager
async def desk_of(settings: RunPodSettings, signing: Signing, database: Database) -> AsyncIterator[Desk]:
    """Raises ``SettingsError`` where videos could not be looked at, or addresses not signed."""
    require_all(settings, signing)
    tell(settings)
    rules = settings.rules()
    service = Service(settings.url, settings.endpoint, settings.api_key.get_secret_value())
    webhook = (settings.webhook_url, signing.first()) if settings.webhook_url else None
    async with service, Outgoing(rules) as outgoing:
        yield Desk(
            service=service,
            book=Book(database.remote_runs, database.jobs, service.target),
            outgoing=outgoing,
            rules=rules,
            bounds=Bounds(settings.result_bytes, within_s=settings.result_seconds),
            now=now_ms,
            webhook=webhook,
            patience=Patience(
                adopt_ms=round(settings.adopt_s * 1000),
                poll_ms=round(settings.poll_s * 1000),
                poll_most_ms=round(settings.poll_most_s * 1000),
            ),
        )
