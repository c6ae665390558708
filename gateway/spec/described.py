"""JSON Schemas of models, as one set of components: pydantic's own, with our rule of the wire applied.

What is written of a shape never holds ``null`` (``to_plain`` leaves such members out), so a member that may be None is
one that may be absent; of a pydantic model it does, for those are OpenV's bodies. Docstrings become descriptions.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

Mode = Literal["validation", "serialization"]
Key = tuple[Any, Mode]


class _Wire(GenerateJsonSchema):
    """Members that are left out where they are None, and no titles made of member names."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 -- pydantic's own form

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inside: list[str] = []

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        self._inside.append("shape")
        try:
            return super().dataclass_schema(schema)
        finally:
            self._inside.pop()

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        self._inside.append("model")
        try:
            return super().model_schema(schema)
        finally:
            self._inside.pop()

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        if self._leaves_none_out():
            return self.generate_inner(schema["schema"])
        return super().nullable_schema(schema)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        # An instant's default is a number inside, and would be none of the text that its schema asks for.
        if made.get("default", ...) is None or made.get("format") == "date-time":
            made.pop("default", None)
        return made

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        inner: Any = field["schema"]
        # A schema of its own (``WithJsonSchema``) says that the member is there, as null.
        absent = self._leaves_none_out() and inner["type"] == "nullable" and not inner.get("metadata")
        return not absent and super().field_is_required(field, total)

    def _leaves_none_out(self) -> bool:
        return self.mode == "serialization" and self._inside[-1:] == ["shape"]

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 -- pydantic's signature
        return False


class Described:
    """The components of all models that a document names, and a reference (or an inline schema) for each of them."""

    def __init__(self, wanted: Iterable[Key]) -> None:
        keys = {_key_of(model, mode): (model, mode) for model, mode in wanted}
        inputs = [(key, mode, TypeAdapter(model)) for key, (model, mode) in keys.items()]
        schemas, rest = TypeAdapter.json_schemas(
            inputs, ref_template="#/components/schemas/{model}", schema_generator=_Wire
        )
        self._schemas = {key: _readable(schema) for (key, _), schema in schemas.items()}
        self.components: Mapping[str, Any] = _readable(rest.get("$defs", {}))

    def of(self, model: Any, mode: Mode) -> dict[str, Any]:
        """The schema to put where this model is meant. KeyError if it was not among the wanted."""
        found: dict[str, Any] = self._schemas[_key_of(model, mode)]
        return found


def _key_of(model: Any, mode: Mode) -> str:
    return f"{mode}:{model!r}"


def _readable(schema: Any) -> Any:
    """Descriptions as one paragraph of Markdown each."""
    if isinstance(schema, list):
        return [_readable(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    made = {name: _readable(value) for name, value in schema.items()}
    if isinstance(made.get("description"), str):
        made["description"] = words(made["description"])
    return made


def words(docstring: str) -> str:
    """A docstring's text as Markdown: paragraphs on one line each, code in single backticks."""
    paragraphs = re.split(r"\n\s*\n", docstring.strip())
    return "\n\n".join(re.sub(r"\s+", " ", one) for one in paragraphs).replace("``", "`")
