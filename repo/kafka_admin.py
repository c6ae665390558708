"""A connection of Kafka's admin client, which whoever asks about the cluster or its topics holds while it asks."""

from types import TracebackType
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient

from repo.kafka_clients import connection_options, within
from repo.settings import ServerSettings


class KafkaAdmin:
    """``async with`` it. Entering raises ``Unavailable`` where Kafka does not answer. ``timeout_s``: each request's."""

    def __init__(self, settings: ServerSettings, client_id: str, timeout_s: float) -> None:
        self._settings = settings
        self._client_id = client_id
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Self:
        options = connection_options(self._settings)
        self._client = AIOKafkaAdminClient(
            client_id=self._client_id, request_timeout_ms=int(self._timeout_s * 1000), **options
        )
        try:
            await within(self._timeout_s, self._client.start())
        except BaseException:
            await self._client.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.close()
