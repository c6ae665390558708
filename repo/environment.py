"""Settings from environment variables: each process reads its own through this one class, which says what is wrong."""

from typing import Any

from pydantic import AliasChoices, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """A variable is missing or wrong; the message is one sentence that names it, and never its value."""


class EnvironmentSettings(BaseSettings):
    """Each member is the variable of the same name in capitals, behind the class's ``env_prefix``.

    An empty variable counts as not set; variables that no member names are somebody else's.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    def __init__(self, **values: Any) -> None:
        """Read the environment; ``values`` come first. Raises ``SettingsError``."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(self._sentence(error)) from None

    @classmethod
    def variables(cls) -> frozenset[str]:
        """The names of all variables that are read."""
        others = [field.validation_alias for field in cls.model_fields.values()]
        named = {str(one).upper() for alias in others if isinstance(alias, AliasChoices) for one in alias.choices}
        return frozenset({cls._variable(name) for name in cls.model_fields} | named)

    @classmethod
    def _variable(cls, member: str) -> str:
        return f"{cls.model_config.get('env_prefix', '')}{member}".upper()

    @classmethod
    def _sentence(cls, error: ValidationError) -> str:
        """All that is missing, or the first thing that is wrong, without its value, which may be a secret."""
        wrong = error.errors(include_input=False, include_url=False, include_context=False)
        missing = [cls._variable(str(one["loc"][0])) for one in wrong if one["type"] == "missing"]
        if missing:
            *others, last = missing
            return f"{', '.join(others)} and {last} are not set." if others else f"{last} is not set."
        first = wrong[0]
        words = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            return f"{words}."
        name = cls._variable(str(first["loc"][0]))
        return f"{name} is not valid: {words[:1].lower()}{words[1:]}."


def listed(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
