"""What a worker of the engine ``runpod`` says when it starts: what it lacks, and what works without that."""

from importlib.util import find_spec
from urllib.parse import urlsplit

import structlog

from inference_worker.remote.settings import RunPodSettings, Signing
from repo.core.addresses import Rules, is_allowed
from repo.environment import SettingsError

NEEDED = {"av": "av", "numpy": "numpy", "PIL": "pillow"}  # by what is imported: what is installed
ANYWHERE = Rules()

log = structlog.get_logger()


def require_all(settings: RunPodSettings, signing: Signing) -> None:
    """Raises ``SettingsError`` where videos could not be looked at, or addresses not signed."""
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise SettingsError(
            f"OPENV_ENGINE=runpod needs {', '.join(missing)} to look at videos and make their thumbnails: "
            f"`pip install {' '.join(missing)}` (torch is not needed)."
        )
    if settings.webhook_url is not None:
        signing.first()


def tell(settings: RunPodSettings) -> None:
    """Log how runs on this endpoint are heard of. Which variable it is about is in ``setting``."""
    log.info("runs on RunPod", endpoint=settings.endpoint, host=_host(settings.url), slots=settings.slots)
    if settings.webhook_url is None:
        log.info(
            "RunPod is asked, it does not call",
            setting="OPENV_RUNPOD_WEBHOOK_URL",
            works=f"everything; the end of a run is seen up to {settings.poll_most_s:g} s late",
            lost="a submission whose answer is lost can't announce itself: it is made again, and may be paid twice",
            mended_by="our gateway's public address there, and the gateway's OPENV_WEBHOOK_SECRET in this worker",
        )
    elif _is_private(settings.webhook_url) and not _is_private(settings.url):
        log.warning(
            "RunPod can't call an address of a private network",
            setting="OPENV_RUNPOD_WEBHOOK_URL",
            works=f"everything, as without it: ends are seen up to {settings.poll_most_s:g} s late",
            lost=f"{settings.adopt_s:g} s of waiting for a call, whenever the answer to a submission is lost",
            mended_by="our gateway's public address there, or none",
        )
    else:
        log.info("RunPod calls", setting="OPENV_RUNPOD_WEBHOOK_URL", host=_host(settings.webhook_url))


def _is_private(url: str) -> bool:
    """As far as the address itself says it: names are looked up by whoever calls."""
    host = _host(url)
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    if not host.replace(".", "").isdigit() and ":" not in host:
        return "." not in host  # a name of a container or of a private network
    return not is_allowed(host, ANYWHERE)


def _host(url: str) -> str:
    """Without what a log must not have: an address may carry a password."""
    return (urlsplit(url).hostname or "").rstrip(".")
