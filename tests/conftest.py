"""The real servers, started once a test session on free ports, and clients of them. Tests that use them are marked
``servers``."""

import os
import uuid
from collections.abc import AsyncIterator

import hypothesis
import pytest

from operations.stack.servers import EmbeddedServers
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.mongo_access import MongoAccessStore
from repo.mongo_jobs import MongoJobStore
from repo.s3 import S3ObjectStore
from repo.settings import ServerSettings
from repo.topic_admin import TopicAdmin
from tests import beside
from tests.servers import settings_of

# Shared machines pause at any moment, so no deadline. The same examples every time; OPENV_EXPLORE=1 draws new ones.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.load_profile("explore" if os.environ.get("OPENV_EXPLORE") else "same")


def pytest_configure(config: pytest.Config) -> None:
    """The tests that run in a second process."""
    config.addinivalue_line("markers", beside.WORDS)
    config.pluginmanager.register(beside.Beside())


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, str]]:
    """Kafka, the MongoDB stand-in and S3 on free ports: the environment that child processes need."""
    async with EmbeddedServers(tmp_path_factory.mktemp("servers") / "data") as environment:
        yield environment


@pytest.fixture(scope="session")
async def topics(servers: dict[str, str]) -> list[str]:
    """The topics of the table, made once."""
    async with TopicAdmin(settings_of(servers)) as admin:
        return await admin.apply()


@pytest.fixture(scope="module")
def database() -> str:
    """The name of a database that no other test module uses."""
    return f"test_{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def settings(servers: dict[str, str], database: str) -> ServerSettings:
    """The servers, with this module's own database."""
    return settings_of(servers, mongodb_database=database)


@pytest.fixture(scope="module")
async def kafka_log(settings: ServerSettings, topics: list[str]) -> AsyncIterator[KafkaEventLog]:
    """A connected event log; its topics are shared by the whole session, so begin at their ends."""
    async with KafkaEventLog(settings, client_id="tests") as log:
        yield log


@pytest.fixture(scope="module")
async def mongo(settings: ServerSettings) -> AsyncIterator[MongoDatabase]:
    """A prepared database, empty at the module's begin."""
    async with MongoDatabase(settings) as mongo:
        await mongo.prepare()
        yield mongo


@pytest.fixture(scope="module")
def job_store(mongo: MongoDatabase) -> MongoJobStore:
    """The job store of that database."""
    return mongo.jobs


@pytest.fixture(scope="module")
def access_store(mongo: MongoDatabase) -> MongoAccessStore:
    """The access store of that database."""
    return mongo.access


@pytest.fixture(scope="module")
async def object_store(settings: ServerSettings) -> AsyncIterator[S3ObjectStore]:
    """A prepared object store; its bucket is shared by the whole session."""
    async with S3ObjectStore(settings) as objects:
        await objects.prepare()
        yield objects
