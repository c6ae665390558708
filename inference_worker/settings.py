"""What a worker reads from the environment: its engine, its name, its patience. Each ``OPENV_…`` in capitals."""

import os
import re
import secrets
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from inference_worker.core.limits import Limits
from inference_worker.engines.choose import ENGINES
from inference_worker.files import Patience
from repo.core.addresses import Rules, read_networks
from repo.environment import EnvironmentSettings
from schemas.ids import is_name

AUTO = "auto"
RUNPOD = "runpod"
MOCHI_VARIABLE = "OPENV_MOCHI_MODEL"
NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")
_FACTORY = re.compile(r"\w+(\.\w+)*:\w+", re.ASCII)


def unique_name() -> str:
    """A name that no other process has, and that says where it runs."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()).strip("-")[:80] or "worker"
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"


class WorkerSettings(EnvironmentSettings):
    """``engine``: auto, tiny, mochi, runpod or ``package.module:factory``. ``worker_id`` is this process's alone; if it
    is not given, it is made of the host's name, the process id and chance. Times are seconds."""

    model_config = SettingsConfigDict(env_prefix="OPENV_")

    engine: str = AUTO
    pool: str = "mochi-1"
    worker_id: str = Field(default_factory=unique_name)
    work_dir: Path = Field(default_factory=lambda: Path(tempfile.gettempdir()) / f"openv-worker-{os.getuid()}")
    beat_s: float = Field(default=5.0, gt=0, le=15)
    stop_grace_s: float = Field(default=10.0, gt=0)
    child_silent_s: float = Field(default=30.0, gt=1)
    child_stalled_s: float = Field(default=900.0, gt=0)
    load_stalled_s: float = Field(default=3_600.0, gt=0)
    upload_s: float = Field(default=600.0, gt=0)
    upload_fallback_s: float = Field(default=120.0, gt=0)
    # Where clients' own buckets (RunPod's s3Config) may be: as where webhooks may lead.
    webhook_allow_http: bool = False
    webhook_allowed_networks: str = ""

    @field_validator("engine")
    @classmethod
    def _is_engine(cls, value: str) -> str:
        names = (AUTO, *ENGINES, RUNPOD)
        if value not in names and _FACTORY.fullmatch(value) is None:
            raise ValueError(f"choose {', '.join(names)} or package.module:factory")
        return value

    @field_validator("webhook_allowed_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        read_networks(value)
        return value

    @model_validator(mode="after")
    def _names(self) -> Self:
        for name in ("worker_id", "pool"):
            if not is_name(getattr(self, name)):
                raise ValueError(f"OPENV_{name.upper()} must be 1 to 128 letters, digits or _ . : @ | -")
        return self

    def limits(self) -> Limits:
        """The core's patience."""
        return Limits(
            beat_ms=_ms(self.beat_s),
            stop_grace_ms=_ms(self.stop_grace_s),
            silent_ms=_ms(self.child_silent_s),
            stalled_ms=_ms(self.child_stalled_s),
            load_stalled_ms=_ms(self.load_stalled_s),
        )

    def patience(self) -> Patience:
        """The file store's patience."""
        return Patience(main_s=self.upload_s, fallback_s=self.upload_fallback_s)

    def bucket_rules(self) -> Rules:
        """Which addresses clients' own buckets may have."""
        return Rules(self.webhook_allow_http, read_networks(self.webhook_allowed_networks))

    def chosen_engine(self, environment: Mapping[str, str] = os.environ, devices: Path = NVIDIA_DEVICES) -> str:
        """The engine's name; ``auto`` is mochi where there are a GPU and weights to load, else tiny."""
        if self.engine != AUTO:
            return self.engine
        return "mochi" if environment.get(MOCHI_VARIABLE) and sees_gpu(environment, devices) else "tiny"


def sees_gpu(environment: Mapping[str, str], devices: Path = NVIDIA_DEVICES) -> bool:
    """Whether an NVIDIA GPU is there and not hidden; asked without loading torch."""
    if environment.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    try:
        return any(devices.iterdir())
    except OSError:
        return False


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
