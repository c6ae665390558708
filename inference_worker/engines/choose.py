"""From the name an operator chose to an engine: one of ours, or ``package.module:factory`` of somebody else's."""

from importlib import import_module

from inference_worker.engines.protocol import Engine, EngineFailure
from schemas.failures import FailureCode

ENGINES = {
    "mochi": "inference_worker.engines.mochi.engine:mochi_engine",
    "tiny": "inference_worker.engines.tiny:tiny_engine",
}


def choose_engine(name: str) -> Engine:
    """The engine of that name, not yet loaded. Raises ``EngineFailure`` (``MODEL_UNAVAILABLE``) if there is none."""
    module, _, attribute = ENGINES.get(name, name).partition(":")
    if not attribute:
        known = ", ".join(ENGINES)
        raise EngineFailure(
            FailureCode.MODEL_UNAVAILABLE, f"There is no engine {name!r}; choose {known} or package.module:factory."
        )
    try:
        engine: Engine = getattr(import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        raise EngineFailure(
            FailureCode.MODEL_UNAVAILABLE,
            f"The engine {name!r} cannot be imported ({error}); its libraries come with `pip install openv[model]`.",
        ) from error
    return engine
