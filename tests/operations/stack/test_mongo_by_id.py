"""Queries that name ids and say more: the answers of a plain scan, without the scan."""

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from typing import Any

import pytest
from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo import ReturnDocument
from pymongo.errors import OperationFailure

pytestmark = pytest.mark.servers

Row = dict[str, Any]
Collection = AsyncIOMotorCollection[Row]

IDS = ("a", "b", "c", "d", "e", "f", "g", "h")
MISSING = object()
COMPARED: dict[str, Callable[[int, int], bool]] = {
    "$lt": lambda one, other: one < other,
    "$lte": lambda one, other: one <= other,
    "$gt": lambda one, other: one > other,
    "$gte": lambda one, other: one >= other,
}


def satisfies(value: Any, condition: Any) -> bool:
    if not isinstance(condition, Mapping):
        return (None if value is MISSING else value) == condition
    [(operator, operand)] = condition.items()
    if operator == "$exists":
        return (value is not MISSING) is operand
    if operator in ("$in", "$nin"):
        return any(satisfies(value, one) for one in operand) is (operator == "$in")
    if operator == "$ne":
        return not satisfies(value, operand)
    return isinstance(value, int) and COMPARED[operator](value, operand)


def matches(row: Row, query: Mapping[str, Any]) -> bool:
    return all(
        any(matches(row, branch) for branch in condition)
        if name == "$or"
        else satisfies(row.get(name, MISSING), condition)
        for name, condition in query.items()
    )


def some_rows(chance: random.Random) -> list[Row]:
    ids = sorted(chance.sample(IDS, chance.randint(0, len(IDS))))
    names = [[name for name in ("version", "state") if chance.random() < 0.85] for _ in ids]
    return [
        {"_id": one, **{name: chance.choice((0, 1, 2, None)) for name in its}}
        for one, its in zip(ids, names, strict=True)
    ]


def some_condition(chance: random.Random) -> Any:
    number = chance.randint(0, 2)
    some = chance.sample((0, 1, 2, None), chance.randint(0, 3))
    compared = {chance.choice(tuple(COMPARED)): number}
    there = {"$exists": chance.random() < 0.5}
    return chance.choice((number, None, compared, {"$ne": number}, {"$in": some}, {"$nin": some}, there))


def some_query(chance: random.Random) -> Row:
    """An id or several, some of which may not be there, and more; in any order."""
    ids = chance.choices((*IDS, "absent"), k=chance.randint(0, 5))
    parts: list[tuple[str, Any]] = [("_id", chance.choice((*IDS, "absent")) if chance.random() < 0.5 else {"$in": ids})]
    parts.append((chance.choice(("version", "state")), some_condition(chance)))
    if chance.random() < 0.3:
        parts.append(("$or", [{"version": some_condition(chance)}, {"state": some_condition(chance), "_id": "a"}]))
    return dict(chance.sample(parts, len(parts)))


@pytest.fixture(scope="module")
async def client(servers: dict[str, str]) -> AsyncIterator[AsyncIOMotorClient[Row]]:
    with closing(AsyncIOMotorClient[Row](servers["MONGODB_URI"])) as client:
        yield client


async def filled(client: AsyncIOMotorClient[Row], database: str, rows: list[Row]) -> Collection:
    collection = client[database][f"c{ObjectId()}"]
    if rows:
        await collection.insert_many([dict(row) for row in rows])
    return collection


async def stored(collection: Collection) -> list[Row]:
    return await collection.find().sort("_id", 1).to_list(None)


async def counted(collection: Collection, query: Row, **cut: int) -> int:
    """By the command of that name, which is no aggregation."""
    return int((await collection.database.command("count", collection.name, query=query, **cut))["n"])


@pytest.mark.parametrize("seed", range(25))
async def test_what_is_read_is_what_a_scan_finds(client: AsyncIOMotorClient[Row], database: str, seed: int) -> None:
    chance = random.Random(seed)
    rows = some_rows(chance)
    collection = await filled(client, database, rows)
    for _ in range(5):
        query, skip, limit = some_query(chance), chance.randint(0, 2), chance.randint(1, 4)
        found = [row for row in rows if matches(row, query)]
        assert await collection.find(query).to_list(None) == found, query
        assert await collection.count_documents(query) == len(found), query
        assert await counted(collection, query, skip=skip, limit=limit) == len(found[skip:][:limit]), query
        down = [{"_id": row["_id"]} for row in reversed(found)][skip:][:limit]
        at = collection.find(query, {"_id": True}, sort=[("_id", -1)], skip=skip, limit=limit, batch_size=1)
        assert await at.to_list(None) == down, query
        assert set(await collection.distinct("_id", query)) == {row["_id"] for row in found}, query


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("write", ["replace", "update", "update all", "change", "remove", "delete", "delete all"])
async def test_what_is_written_is_what_a_scan_finds(
    client: AsyncIOMotorClient[Row], database: str, write: str, seed: int
) -> None:
    chance = random.Random(f"{write} {seed}")
    rows, query = some_rows(chance), some_query(chance)
    collection = await filled(client, database, rows)
    found = [row for row in rows if matches(row, query)]
    first, changed = found[:1], {"$set": {"changed": True}}
    expected = [{**row, "changed": True} if row in first else row for row in rows]
    without = [row for row in rows if row not in first]
    if write == "replace":
        assert (await collection.replace_one(query, {"new": 1})).matched_count == len(first)
        expected = [{"_id": row["_id"], "new": 1} if row in first else row for row in rows]
    elif write == "update":
        assert (await collection.update_one(query, changed)).modified_count == len(first)
    elif write == "update all":
        assert (await collection.update_many(query, changed)).modified_count == len(found)
        expected = [{**row, "changed": True} if row in found else row for row in rows]
    elif write == "change":
        last = [{**row, "changed": True} for row in found[-1:]]
        after = await collection.find_one_and_update(
            query, changed, sort=[("_id", -1)], return_document=ReturnDocument.AFTER
        )
        assert [after] == (last or [None])
        expected = [{**row, "changed": True} if row in found[-1:] else row for row in rows]
    elif write == "remove":
        assert [await collection.find_one_and_delete(query, sort=[("_id", 1)])] == (first or [None])
        expected = without
    elif write == "delete":
        assert (await collection.delete_one(query)).deleted_count == len(first)
        expected = without
    else:
        assert (await collection.delete_many(query)).deleted_count == len(found)
        expected = [row for row in rows if row not in found]
    assert await stored(collection) == expected, query


async def test_an_upsert_of_what_does_not_match_is_an_insert(client: AsyncIOMotorClient[Row], database: str) -> None:
    collection = await filled(client, database, [{"_id": "a", "version": 3}])
    older = {"version": {"$lt": 3}}
    with pytest.raises(OperationFailure, match="duplicate key"):
        await collection.replace_one({"_id": "a", **older}, {"version": 2}, upsert=True)
    done = await collection.replace_one({"_id": "b", **older}, {"version": 2}, upsert=True)
    assert (done.matched_count, done.upserted_id) == (0, "b")
    done = await collection.update_one({"version": 7, "_id": "c"}, {"$set": {"state": 1}}, upsert=True)
    assert (done.matched_count, done.upserted_id) == (0, "c")
    assert (await collection.replace_one({"_id": "b", **older}, {"version": 5}, upsert=True)).matched_count == 1
    assert await stored(collection) == [
        {"_id": "a", "version": 3},
        {"_id": "b", "version": 5},
        {"_id": "c", "version": 7, "state": 1},
    ]


async def test_ids_of_other_kinds_are_found_as_well(client: AsyncIOMotorClient[Row], database: str) -> None:
    ids: list[Any] = [2, 1.5, 2**53 + 1, ObjectId("64b000000000000000000001"), {"part": 1}, None]
    collection = await filled(client, database, [{"_id": one, "version": 1} for one in ids])
    for one in ids:
        assert await collection.find_one({"_id": one, "version": 1}) == {"_id": one, "version": 1}
        assert await collection.find_one({"_id": one, "version": 2}) is None
        assert await collection.count_documents({"_id": {"$in": [one, "absent"]}, "version": 1}) == 1
    assert await collection.count_documents({"_id": 2.0, "version": 1}) == 1
    assert await collection.count_documents({"_id": "2", "version": 1}) == 0
    assert await collection.count_documents({"_id": {"$in": ids}, "version": 1}) == len(ids)


async def test_a_mistake_in_a_query_is_told_whatever_it_names(client: AsyncIOMotorClient[Row], database: str) -> None:
    collection = await filled(client, database, [{"_id": "a", "version": 1}])
    for wrong in ({"version": {"$nonsense": 1}}, {"$or": []}, {"version": {"$size": "x"}}, {"$nonsense": 1}):
        with pytest.raises(OperationFailure):
            await collection.find_one({**wrong, "_id": "absent"})


async def test_the_other_documents_are_not_looked_at(client: AsyncIOMotorClient[Row], database: str) -> None:
    if (await client.admin.command("serverStatus")).get("process") != "DurableMongo":
        pytest.skip("MongoDB itself takes the index of _id")
    many = 1_000
    collection = await filled(client, database, [{"_id": f"{n:04d}", "version": 1} for n in range(many)])

    async def examined() -> int:
        status = await client.admin.command("serverStatus")
        return int(status["metrics"]["queryExecutor"]["scannedObjects"])

    this, these = {"_id": "0500", "version": 1}, {"_id": {"$in": ["0500", "0501"]}, "version": {"$gte": 1}}
    later = {"$set": {"at": 1}}
    asked: dict[str, Callable[[], Any]] = {
        "find": lambda: collection.find(these).to_list(None),
        "count": lambda: counted(collection, {**this, "$or": [{"state": None}, {"state": 1}]}),
        "replace": lambda: collection.replace_one(this, {"version": 1}),
        "update": lambda: collection.update_many(these, later),
        "change": lambda: collection.find_one_and_update(this, later, sort=[("version", 1)]),
        "upsert": lambda: collection.replace_one({"_id": "new", "version": {"$lt": 1}}, {"version": 1}, upsert=True),
        "delete": lambda: collection.delete_one(this),
    }
    before = await examined()
    assert await collection.count_documents({"version": 2}) == 0
    assert await examined() - before >= many  # this one has to
    for name, ask in asked.items():
        before = await examined()
        await ask()
        assert await examined() - before < 10, name
