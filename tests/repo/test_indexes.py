"""Every query of every MongoDB store is held against the indexes that are declared; a server confirms it where it can.

The rule is MongoDB's own: fields compared for equality, then the sort, or one range. What an index does not hold is
looked at in each document that it leads to; that is allowed only where it is said below.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from repo.mongo import INDEXES, MongoDatabase
from tests.repo.recorded import Keys, Query, call_sites, queries_of, stores

RANGES = {"$gt", "$gte", "$lt", "$lte"}
# Looked at document by document, in what the index leads to.
LEFT_OVER = {
    ("jobs", "state"): "a list leaves out refused and deleted videos; a few of one user's",
    ("jobs", "userId"): "one user's, of those of an endpoint that are in a state",
    ("jobs", "external"): "a list of videos leaves out what external workers run for one user",
    ("jobs", "charge.state"): "what was refused is left out, of one user's of late",
    (
        "jobs",
        "charge.reservedAt",
    ): "of one user's charged ones: it is in the index, behind the amounts, of which there are few",
    ("jobs", "createdAt"): "the next page of what changed: within that",
    ("jobs", "pool"): "what an operator looks for, the newest jobs first",
    ("jobs", "endpoint"): "what an operator looks for, the newest jobs first",
    ("jobs", "failure.code"): "what an operator looks for, the newest jobs first",
    ("accounts", "role"): "an operator's page of accounts",
    ("accounts", "blocked"): "an operator's page of accounts",
    ("accounts", "deletedAt"): "an operator's page of accounts",
    ("api_keys", "kind"): "one user's keys",
    ("api_keys", "expiresAt"): "one user's keys",
    ("api_keys", "createdAt"): "one user's keys, when the user is deleted",
    ("acceptances", "acceptedAt"): "one user's acceptances, when the user is deleted",
    ("deliveries", "nextAt"): "the deliveries of one job",
    ("deliveries", "jobId"): "one user's log about one job: MongoDB takes the job's few by its index, and sorts them",
    ("deliveries", "to"): "those that are due, to servers that have enough under way",
    ("deliveries", "userId"): "those that are due, of users who have enough under way",
    ("deliveries", "endpointId"): "those that are due, to endpoints that have enough under way",
    ("works", "state"): "an operator's long works that go on, of those of some weeks",
    ("dispositions", "letterAt"): "one letter, by its place",
    ("dispositions", "replayId"): "letters by their places",
}
BY_ID = (("_id", 1),)  # every collection has it
# Read whole on purpose: what operators have made by hand, tens of documents.
WHOLE = {"endpoints"}


def words(query: Query) -> str:
    return f"{query.site[0]}:{query.site[1]} {query.collection}.{query.operation} {dict(query.wanted)} {query.sort}"


def equal(condition: Any) -> bool:
    return not isinstance(condition, Mapping) or set(condition) == {"$in"}


def in_range(condition: Any) -> bool:
    return isinstance(condition, Mapping) and set(condition) <= RANGES


def fields_of(wanted: Mapping[str, Any]) -> Iterator[str]:
    for name, condition in wanted.items():
        if name == "$or":
            for branch in condition:
                yield from fields_of(branch)
        else:
            assert not name.startswith("$"), f"this test does not know {name}"
            yield name


def sorted_by(rest: Keys, sort: Keys) -> bool:
    """Whether the index, from here on, is in this order, or in the reverse."""
    turned = tuple((name, -direction) for name, direction in sort)
    return rest[: len(sort)] in (sort, turned)


def left_over(query: Query, index: Keys) -> set[str] | None:
    """The fields that this index leaves over; None where it does not serve the query at all."""
    wanted = query.wanted
    used = 0
    while used < len(index) and equal(wanted.get(index[used][0], {})):
        used += 1
    rest = index[used:]
    if query.sort and sorted_by(rest, query.sort):
        used += len(query.sort)
    elif query.sort and not (query.hint == index and query.limit):
        return None  # sorted in memory: only what a hint says on purpose, and only the first few
    elif rest and in_range(wanted.get(rest[0][0])):
        used += 1
    if not used or (not wanted and not query.limit):
        return None
    return set(fields_of(wanted)) - {name for name, _ in index[:used]}


def serving(query: Query) -> Iterator[Keys]:
    """The best index of each part of the query."""
    if set(query.wanted) == {"$or"} and not query.sort:
        for branch in query.wanted["$or"]:
            yield from serving(Query(query.collection, query.operation, branch, query.site))
        return
    if not query.wanted and not query.sort and query.collection in WHOLE:
        return
    if equal(query.wanted.get("_id", {})):
        yield BY_ID
        return
    indexes = [one for one in INDEXES[query.collection] if query.hint in ((), one)]
    if query.sort == BY_ID and query.limit:  # a page of a collection, in its own order
        indexes.append(BY_ID)
    found = [(left, index) for index in indexes if (left := left_over(query, index)) is not None]
    assert found, f"no index serves {words(query)}"
    left, index = min(found, key=lambda pair: (len(pair[0]), len(pair[1])))
    undeclared = {name for name in left if name != "_id" and (query.collection, name) not in LEFT_OVER}
    assert not undeclared, f"{index} leaves {undeclared} over in {words(query)}"
    yield index


@pytest.fixture(scope="module")
async def asked() -> list[Query]:
    return [query for store in stores().values() for query in await queries_of(store)]


def test_the_stores_are_found() -> None:
    assert set(stores()) >= {"jobs", "access", "deliveries", "endpoints"}


def test_every_place_where_a_store_asks_was_seen(asked: list[Query]) -> None:
    seen = {(query.site[0], query.operation, query.site[1]) for query in asked}
    for store in stores().values():
        for file, operation, lines in call_sites(store):
            assert any((file, operation, line) in seen for line in lines), f"{file}:{lines.start} was never called"


def test_every_query_has_an_index(asked: list[Query]) -> None:
    for query in asked:
        list(serving(query))


def test_every_index_is_needed(asked: list[Query]) -> None:
    used = {(query.collection, index) for query in asked for index in serving(query)}
    declared = {(collection, index) for collection, indexes in INDEXES.items() for index in indexes}
    assert declared == {one for one in used if one[1] != BY_ID}


def test_every_collection_says_its_indexes(asked: list[Query]) -> None:
    assert {query.collection for query in asked} == set(INDEXES)


def test_nothing_is_allowed_for_a_query_that_is_no_more(asked: list[Query]) -> None:
    compared = {(query.collection, name) for query in asked for name in fields_of(query.wanted)}
    assert set(LEFT_OVER) <= compared
    assert {query.collection for query in asked if query.operation == "find" and not query.wanted} >= WHOLE


@pytest.mark.parametrize(
    ("wanted", "sort", "limit"),
    [
        ({"pool": "p"}, (), 0),
        ({"userId": "u"}, (("pool", 1),), 9),
        ({"userId": "u", "origin": "p"}, (), 0),
        ({"userId": "u"}, (("createdAt", -1), ("_id", 1)), 9),
        ({"updatedAt": {"$gt": 1}}, (), 0),
        ({"userId": "u", "updatedAt": {"$gt": 1}, "origin": "p"}, (), 0),
        ({"userId": "u", "updatedAt": {"$gt": 1}}, (("updatedAt", -1), ("createdAt", -1)), 9),
        ({"$or": [{"userId": "u"}, {"pool": "p"}]}, (), 0),
        ({"_id": {"$lt": "x"}}, (), 0),
        ({}, (), 0),
    ],
)
def test_a_query_without_an_index_is_found_out(wanted: dict[str, Any], sort: Keys, limit: int) -> None:
    with pytest.raises(AssertionError, match=r"no index serves|leaves"):
        list(serving(Query("jobs", "find", wanted, ("here", 1), sort, limit)))


def test_a_hint_that_names_no_index_is_found_out() -> None:
    query = Query("jobs", "find", {"userId": "u"}, ("here", 1), hint=(("userId", 1), ("pool", 1)))
    with pytest.raises(AssertionError, match="no index serves"):
        list(serving(query))


def stages(plan: Any) -> Iterator[str]:
    if isinstance(plan, Mapping):
        if "stage" in plan:
            yield plan["stage"]
        for part in plan.values():
            yield from stages(part)
    elif isinstance(plan, list):
        for part in plan:
            yield from stages(part)


@pytest.mark.servers
async def test_mongodb_itself_takes_an_index(mongo: MongoDatabase, asked: list[Query]) -> None:
    database = mongo.connection.collection("jobs").database
    if (await database.client.admin.command("serverStatus")).get("process") == "DurableMongo":
        pytest.skip("the stand-in explains nothing: set MONGODB_URI to a MongoDB")
    different = {repr((one.collection, one.wanted, one.sort, one.limit, one.hint)): one for one in asked}
    for query in different.values():
        find: dict[str, Any] = {"find": query.collection, "filter": query.wanted}
        if query.sort:
            find["sort"] = dict(query.sort)
        if query.limit:
            find["limit"] = query.limit
        if query.hint:
            find["hint"] = dict(query.hint)
        if not query.wanted and query.collection in WHOLE:
            continue
        explained = await database.command({"explain": find, "verbosity": "queryPlanner"})
        seen = set(stages(explained["queryPlanner"]["winningPlan"]))
        assert seen & {"IXSCAN", "IDHACK", "EXPRESS_IXSCAN", "EOF"}, (words(query), seen)
        assert "COLLSCAN" not in seen, words(query)
