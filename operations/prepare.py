"""What a local stack needs before its parts start: topics, indexes, the bucket, and the local user's key."""

import os
from collections.abc import Mapping

from gateway.keys import key_of, new_key
from operations.stack.data_dir import DataDir
from repo.clock import now_ms
from repo.mongo import MongoJobStore
from repo.s3 import S3ObjectStore
from repo.settings import ServerSettings
from repo.topic_admin import TopicAdmin
from schemas.accounts import Role

LOCAL_USER = "local"
LOCAL_KEY = "apiKey"
ONE_TIME_TOKEN_MS = 24 * 3_600_000


async def prepare(data_dir: DataDir, environment: Mapping[str, str]) -> str:
    """Make everything that is missing, and return the local user's API key (kept in ``credentials.json``)."""
    os.environ.update(environment)
    settings = ServerSettings()
    async with TopicAdmin(settings) as admin:
        await admin.apply()
    async with S3ObjectStore(settings) as objects:
        await objects.prepare()
    secret = data_dir.credential(LOCAL_KEY, lambda: new_key(user_id=LOCAL_USER, name="", role=Role.USER, now=0)[0])
    async with MongoJobStore(settings) as store:
        await store.prepare()
        await store.store_api_key(key_of(secret, user_id=LOCAL_USER, name="local stack", role=Role.USER, now=now_ms()))
    return secret


async def one_time_token() -> str:
    """A token that opens the page once."""
    now = now_ms()
    secret, key = new_key(
        user_id=LOCAL_USER, name="page", role=Role.USER, now=now, one_time=True, expires_at=now + ONE_TIME_TOKEN_MS
    )
    async with MongoJobStore(ServerSettings()) as store:
        await store.store_api_key(key)
    return secret
