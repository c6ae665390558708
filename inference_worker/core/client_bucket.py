"""RunPod's ``s3Config``: a bucket of the client's own, and where in it the video goes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

KEY_BYTES_MAX = 1024  # S3's
CREDENTIAL_MAX = 512
ENDING = ".mp4"
REGION_DEFAULT = "us-east-1"  # what servers that have no regions take
_UNRESERVED = "-_.~"  # what a signature leaves as it is; digits and letters besides
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_CREDENTIAL = re.compile(rf"[!-~]{{1,{CREDENTIAL_MAX}}}")
_AREA_NUMBER = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]+")  # eu-central-1, us-west-004
_AFTER_S3 = re.compile(r"(?:^|\.)s3[.-]([a-z]+-[a-z0-9-]+)\.")  # s3.fr-par.scw.cloud
_BEFORE_HOST = re.compile(r"(?:^|\.)([a-z]{2,4}-?[a-z0-9-]*[0-9])\.(?:digitaloceanspaces|linodeobjects|vultrobjects)\.")


class BadBucket(ValueError):
    """The message says what is wrong, as words that follow ``s3Config``. It quotes nothing."""


@dataclass(frozen=True, slots=True)
class ClientBucket:
    """``url``: where the file goes, percent-encoded as it is signed. ``region`` is part of the signature."""

    url: str
    region: str
    access_id: str = field(repr=False)
    access_secret: str = field(repr=False)


def bucket_of(config: Any, job_id: str) -> ClientBucket:
    """Where the job's video goes. Raises ``BadBucket``.

    ``objectPath`` is a key of the bucket, or a folder where it ends in a slash; without one it is the job's id. The
    bucket is named in the path, unless the endpoint's host begins with its name.
    """
    if not isinstance(config, Mapping):
        raise BadBucket("must be an object")
    access_id, access_secret = (_text(config, name, _CREDENTIAL) for name in ("accessId", "accessSecret"))
    bucket = _text(config, "bucketName", _BUCKET)
    endpoint = config.get("endpointUrl")
    if not isinstance(endpoint, str) or "?" in endpoint or "#" in endpoint or not endpoint.isascii():
        raise BadBucket("has no valid endpointUrl")
    try:
        read = urlsplit(endpoint)
        host = read.hostname or ""
    except ValueError:
        raise BadBucket("has no valid endpointUrl") from None
    key = _key(config.get("objectPath"), job_id)
    within = "" if host.startswith(f"{bucket.lower()}.") else f"{quote(bucket, safe=_UNRESERVED)}/"
    # Host names are written small, as they are signed.
    url = f"{read.scheme}://{read.netloc.lower()}{read.path.rstrip('/')}/{within}{quote(key, safe=f'/{_UNRESERVED}')}"
    return ClientBucket(url=url, region=region_of(host), access_id=access_id, access_secret=access_secret)


def region_of(host: str) -> str:
    """The region that a provider's host name carries, or S3's first one."""
    for label in host.split("."):
        named = label.removeprefix("s3api-").removeprefix("s3-")
        if _AREA_NUMBER.fullmatch(named):
            return named
    found = _AFTER_S3.search(host) or _BEFORE_HOST.search(host)
    return found[1] if found else REGION_DEFAULT


def _text(config: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = config.get(name)
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise BadBucket(f"has no valid {name}")
    return value


def _key(path: Any, job_id: str) -> str:
    if path is None or path == "":
        return f"{job_id}{ENDING}"
    if not isinstance(path, str) or not path.isprintable():
        raise BadBucket("has no valid objectPath")
    key = path.lstrip("/")
    key = f"{key}{job_id}{ENDING}" if not key or key.endswith("/") else key
    parts = key.split("/")
    if len(key.encode(errors="replace")) > KEY_BYTES_MAX or {".", ".."} & set(parts):
        raise BadBucket("has no valid objectPath")  # a URL with dots in it leads elsewhere than it says
    return key
