"""docker-compose.yml as an engine would see it: ``.env`` filled in, variables replaced."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
SECRETS = {"MONGODB_PASSWORD": "m0ngo", "S3_SECRET_ACCESS_KEY": "s3cret"}

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<kind>:-|:\?)(?P<rest>[^}]*))?\}")


class NotSet(Exception):
    """What an engine says of ``${NAME:?words}``."""


def example() -> dict[str, str]:
    """The variables that .env.example sets, without those it leaves empty."""
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines) if value}


def read(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables replaced. Raises ``NotSet``."""

    def replace(found: re.Match[str]) -> str:
        value = variables.get(found["name"], "")
        if value or found["kind"] == ":-":
            return value or found["rest"]
        raise NotSet(f"{found['name']}: {found['rest']}")

    def within(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: within(one) for name, one in value.items()}
        if isinstance(value, list):
            return [within(one) for one in value]
        return _VARIABLE.sub(replace, value) if isinstance(value, str) else value

    content: dict[str, Any] = within(yaml.safe_load(FILE.read_text()))
    return content


def filled_in() -> dict[str, Any]:
    """As it is after the two steps that its head names."""
    return read({**example(), **SECRETS})


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    """A service's variables, as text."""
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def mentioned() -> set[str]:
    """Every variable that the file asks for."""
    return {found["name"] for found in _VARIABLE.finditer(FILE.read_text())}
