"""What a local stack needs before its parts start: topics, indexes, the bucket, and the local user's key."""

import os
from collections.abc import Mapping

from gateway.identity.keys import PREFIX_LENGTH, hash_of, new_key
from operations.stack.data_dir import DataDir
from repo.clock import now_ms
from repo.mongo import MongoDatabase
from repo.ports import OtherDatabase
from repo.s3 import S3ObjectStore
from repo.settings import ServerSettings
from repo.topic_admin import TopicAdmin
from schemas.access import ApiKey, KeyKind
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
    secret = data_dir.credential(LOCAL_KEY, lambda: new_key(LOCAL_USER, now=0)[0])
    async with MongoDatabase(settings) as database:
        try:
            await database.prepare()
            await database.access.store_api_key(
                _stored_form(secret)
            )  # again at every start: the database may be another one
        except OtherDatabase:
            pass  # it is being restored: its parts wait for that, and say so; the servers must run for it
    return secret


def _stored_form(secret: str) -> ApiKey:
    return ApiKey(
        key_hash=hash_of(secret),
        prefix=secret[:PREFIX_LENGTH],
        user_id=LOCAL_USER,
        role=Role.USER,
        name="local stack",
        created_at=now_ms(),
    )


async def one_time_token(user: str = LOCAL_USER) -> str:
    """A token that opens the page once, for this user."""
    now = now_ms()
    secret, key = new_key(user, now=now, name="page", kind=KeyKind.PAGE_LINK, expires_at=now + ONE_TIME_TOKEN_MS)
    async with MongoDatabase(ServerSettings()) as database:
        await database.access.store_api_key(key)
    return secret
