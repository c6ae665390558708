"""In whose form a refusal is said: that of the API at the address that was asked, whether or not anything is there."""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from types import MappingProxyType

from starlette.responses import Response

from gateway.errors import Refused, Told, answer, told
from gateway.openai.errors import openai_told


class Form(Enum):
    OPENV = auto()
    OPENAI = auto()


FORMS: Mapping[Form, Callable[[Refused], Told]] = MappingProxyType({Form.OPENV: told, Form.OPENAI: openai_told})
PREFIXES: Mapping[str, Form] = MappingProxyType({"/v1/": Form.OPENAI})


def form_at(path: str) -> Form:
    """The form of the API that this path belongs to."""
    return next((form for prefix, form in PREFIXES.items() if path.startswith(prefix)), Form.OPENV)


def refusal_at(path: str, refused: Refused) -> Response:
    """The response of a refusal to a request for this path."""
    return answer(refused, FORMS[form_at(path)])
