"""``/v1/models``: the names under which videos are made."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.errors import Problem, Refused
from gateway.identity.guard import caller
from gateway.parts import Parts, parts_of
from schemas.api.openai import Model, ModelList
from schemas.requests import MODEL

OWNER = "openv"
PUBLISHED = 1_729_555_200  # when Genmo published Mochi 1: 22 October 2024, in seconds since 1970


async def models(request: Request) -> Response:
    """``GET /v1/models``."""
    await caller(request)
    made = ModelList(data=tuple(_model(name) for name in _names(parts_of(request))))
    return JSONResponse(made.model_dump(mode="json"))


async def model(request: Request) -> Response:
    """``GET /v1/models/{model_id}``."""
    await caller(request)
    name = request.path_params["model_id"]
    if name not in _names(parts_of(request)):
        raise Refused(Problem.NO_MODEL, param="model")
    return JSONResponse(_model(name).model_dump(mode="json"))


def _names(parts: Parts) -> tuple[str, ...]:
    return tuple(dict.fromkeys((MODEL, *parts.settings.openai_models)))


def _model(name: str) -> Model:
    return Model(id=name, created=PUBLISHED, owned_by=OWNER)


ROUTES = [
    Route("/v1/models", models, methods=["GET"]),
    Route("/v1/models/{model_id}", model, methods=["GET"]),
]
