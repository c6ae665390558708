"""The environment that turns a container built on RunPod's worker SDK into a worker of one of our endpoints.

The names are the SDK's. It puts its pod's id in the place of ``$ID`` (job-take) or of ``$RUNPOD_POD_ID``, a job's id in
that of ``$ID`` elsewhere, and appends ``&…`` to the first three addresses, which therefore have a query.
"""

import shlex
from collections.abc import Mapping
from urllib.parse import urlsplit

from operations.stack.errors import StackError

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost", "0.0.0.0", "::"})  # noqa: S104 -- they are compared
_QUERY = "?gpu=x"


def worker_environment(base: str, endpoint_id: str, key: str, pod_id: str) -> dict[str, str]:
    """Every variable that it needs. ``base``: the gateway's address without a slash at the end."""
    at = f"{base}/v2/{endpoint_id}"
    return {
        "RUNPOD_WEBHOOK_GET_JOB": f"{at}/job-take/$ID{_QUERY}",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{at}/job-done/$RUNPOD_POD_ID/$ID{_QUERY}",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{at}/job-stream/$RUNPOD_POD_ID/$ID{_QUERY}",
        "RUNPOD_WEBHOOK_PING": f"{at}/ping/$RUNPOD_POD_ID{_QUERY}",
        "RUNPOD_POD_ID": pod_id,
        "RUNPOD_AI_API_KEY": key,
        # The checks ask for RunPod's own machines.
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
    }


def as_env_file(variables: Mapping[str, str]) -> str:
    """As ``docker run --env-file`` reads it: to the end of the line, nothing quoted, nothing replaced."""
    return "\n".join(f"{name}={value}" for name, value in variables.items())


def as_shell(variables: Mapping[str, str]) -> str:
    """As a POSIX shell reads it."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def require_base(url: str) -> str:
    """The gateway's address without a slash at the end. Raises ``StackError`` for what is none."""
    try:
        read = urlsplit(url)
        sound = read.scheme in {"http", "https"} and read.hostname and (read.port is None or read.port > 0)
    except ValueError:
        sound = None
    if not sound or not url.isascii() or not url.isprintable() or set(url) & set(" ?#$'\"\\"):
        raise StackError("The gateway's address is like https://openv.example.org, without ? and #.")
    return url.rstrip("/").removesuffix("/v2")


def is_loopback(url: str) -> bool:
    """Whether only this machine reaches it; a container is another one."""
    return urlsplit(url).hostname in LOOPBACK
