"""Which servers are somebody else's, and what the parts of a stack are told about all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from operations.stack.errors import StackError

DEFAULT_DATABASE = "openv"
DEFAULT_BUCKET = "openv"
DEFAULT_REGION = "us-east-1"

_KAFKA = "KAFKA_BOOTSTRAP_SERVERS"
_MONGO = "MONGODB_URI"
_S3 = "S3_ENDPOINT_URL"


@dataclass(frozen=True)
class StackSettings:
    """The servers named in the environment. ``None``: the embedded one is started."""

    kafka_bootstrap_servers: str | None = None
    mongodb_uri: str | None = None
    mongodb_database: str = DEFAULT_DATABASE
    s3_endpoint_url: str | None = None
    s3_access_key_id: str | None = None
    s3_secret_access_key: str | None = None
    s3_bucket: str = DEFAULT_BUCKET
    s3_region: str = DEFAULT_REGION


def read_settings(environ: Mapping[str, str]) -> StackSettings:
    """Settings from environment variables; an empty one counts as not set. Raises ``StackError``."""

    def value(name: str) -> str | None:
        return environ.get(name, "").strip() or None

    settings = StackSettings(
        kafka_bootstrap_servers=value(_KAFKA),
        mongodb_uri=value(_MONGO),
        mongodb_database=value("MONGODB_DATABASE") or DEFAULT_DATABASE,
        s3_endpoint_url=value(_S3),
        s3_access_key_id=value("S3_ACCESS_KEY_ID"),
        s3_secret_access_key=value("S3_SECRET_ACCESS_KEY"),
        s3_bucket=value("S3_BUCKET") or DEFAULT_BUCKET,
        s3_region=value("S3_REGION") or DEFAULT_REGION,
    )
    if (settings.s3_access_key_id is None) != (settings.s3_secret_access_key is None):
        raise StackError("S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY belong together: set both or none.")
    if settings.s3_endpoint_url is None and settings.s3_access_key_id is not None:
        raise StackError("S3_ACCESS_KEY_ID is set without S3_ENDPOINT_URL: name the server that these keys are for.")
    return settings


def child_environment(
    settings: StackSettings, embedded: Mapping[str, str], data_dir: Path, environ: Mapping[str, str]
) -> dict[str, str]:
    """The whole environment of gateway, streams and worker: ours, plus where every server is.

    ``embedded`` is what the embedded servers say of themselves (``Servers.environment()``).
    """
    told = {
        _KAFKA: settings.kafka_bootstrap_servers,
        _MONGO: settings.mongodb_uri,
        "MONGODB_DATABASE": settings.mongodb_database,
        _S3: settings.s3_endpoint_url,
        "S3_ACCESS_KEY_ID": settings.s3_access_key_id,
        "S3_SECRET_ACCESS_KEY": settings.s3_secret_access_key,
        "S3_BUCKET": settings.s3_bucket,
        "S3_REGION": settings.s3_region,
        "OPENV_DATA_DIR": str(data_dir),
    }
    set_ones = {name: value for name, value in told.items() if value is not None}
    return {**environ, **set_ones, **embedded, **(_without_proxy(environ) if embedded else {})}


def _without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """A proxy that the machine uses for the internet must not be asked for servers on 127.0.0.1."""
    named = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    hosts = [host for host in (part.strip() for part in named.split(",")) if host]
    hosts += [host for host in ("127.0.0.1", "localhost") if host not in hosts]
    return {"NO_PROXY": ",".join(hosts), "no_proxy": ",".join(hosts)}
