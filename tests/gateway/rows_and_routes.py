"""What the code behind a route can raise, read off its source: for comparing with what the row of the table says.

Followed are functions of ``gateway`` that are named where they are called, and methods whose own source names a
``Problem``. Names of problems in tables of a module count where a function reads that table.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from starlette.routing import Mount, Route

from gateway.errors import Problem


def routes(all_of_them: list[Any]) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Method, path and handler of every HTTP route; files under a mount are no operations."""
    for route in all_of_them:
        assert isinstance(route, Route | Mount) or type(route).__name__ == "WebSocketRoute", route
        if isinstance(route, Route):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield method.lower(), route.path, route.endpoint


def raised_by(handler: Callable[..., Any]) -> set[Problem]:
    """Every problem that this handler, or what it calls, names."""
    seen: set[Any] = set()
    found: set[Problem] = set()
    left: list[Any] = [handler]
    while left:
        function = inspect.unwrap(left.pop())
        if function in seen:
            continue
        seen.add(function)
        names, attributes, problems = _parts(function)
        found |= problems
        for name in names:
            value = function.__globals__.get(name)
            if inspect.isfunction(value) and value.__module__.startswith("gateway."):
                left.append(value)
            elif isinstance(value, Mapping):
                found |= {one for one in value.values() if isinstance(one, Problem)}
        left += [method for name in attributes for method in _methods().get(name, ())]
    return found


@cache
def _parts(function: Any) -> tuple[frozenset[str], frozenset[str], frozenset[Problem]]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    body = [node for part in tree.body if hasattr(part, "body") for node in part.body]
    nodes = [node for part in body for node in ast.walk(part)]
    # Default values of arguments may be problems too.
    nodes += [node for part in tree.body if hasattr(part, "args") for node in ast.walk(part.args)]
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    members = [one.attr for one in attributes if isinstance(one.value, ast.Name) and one.value.id in {"P", "Problem"}]
    problems = {Problem[name] for name in members if name in Problem.__members__}
    named = [node for node in nodes if isinstance(node, ast.Name)]
    names = {one.id for one in named} - {one.id for one in named if isinstance(one.ctx, ast.Store)}
    return frozenset(names), frozenset(one.attr for one in attributes), frozenset(problems)


@cache
def _methods() -> dict[str, list[Any]]:
    """Methods of the gateway's classes that name a problem, by name."""
    found: dict[str, list[Any]] = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith("gateway."):
            continue
        for one in vars(module).values():
            if inspect.isclass(one) and one.__module__ == name:
                written = [method for name, method in vars(one).items() if not name.startswith("__")]
                for method in filter(inspect.isfunction, written):
                    if "Problem." in inspect.getsource(method):
                        found.setdefault(method.__name__, []).append(method)
    return found
