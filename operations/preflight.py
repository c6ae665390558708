"""What ``openv up`` looks at before it starts anything: what its parts would refuse once all the servers run."""

from gateway.core.submission import Invalid, generation_request
from gateway.settings import GatewaySettings
from inference_worker.remote.settings import RunPodSettings, Signing
from inference_worker.remote.starting import require_all
from inference_worker.settings import RUNPOD, WorkerSettings
from operations.admin.settings import AdminSettings
from operations.stack.errors import StackError
from repo.settings import FallbackSettings
from streams.settings import StreamsSettings


def require_settings() -> None:
    """Every part's settings, from this process's environment. Raises ``SettingsError``."""
    for settings in (GatewaySettings, StreamsSettings, AdminSettings, WorkerSettings, FallbackSettings):
        settings()
    if WorkerSettings().engine == RUNPOD:
        require_all(RunPodSettings(), Signing())


def require_prompt(prompt: str) -> None:
    """Raises ``StackError`` for a prompt that no gateway takes."""
    request = generation_request({"prompt": prompt})
    if isinstance(request, Invalid):
        raise StackError(f"The prompt {request.details[0].message}.")
