"""What the NVIDIA driver says of the GPUs that this process may use, asked for when Prometheus asks.

Without a driver, or without a GPU, there is nothing to show. The driver's library is loaded at the first question, by
the thread that answers it: one that hangs holds up no attempt.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = structlog.get_logger()

VISIBLE = "CUDA_VISIBLE_DEVICES"
# Name, words, and how a driver (``pynvml``) tells it of a handle.
READINGS: tuple[tuple[str, str, Callable[[Any, Any], float]], ...] = (
    (
        "openv_gpu_utilization_ratio",
        "Part of the last moment in which it worked.",
        lambda nvml, handle: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
    ),
    (
        "openv_gpu_memory_used_bytes",
        "Memory in use, by whomever.",
        lambda nvml, handle: nvml.nvmlDeviceGetMemoryInfo(handle).used,
    ),
    (
        "openv_gpu_memory_total_bytes",
        "Memory it has.",
        lambda nvml, handle: nvml.nvmlDeviceGetMemoryInfo(handle).total,
    ),
    (
        "openv_gpu_temperature_celsius",
        "Of the chip.",
        lambda nvml, handle: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
    ),
    (
        "openv_gpu_power_watts",
        "What it draws.",
        lambda nvml, handle: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
    ),
)
INFO = "openv_gpu_info"


class GpuMetrics(Collector):
    """``driver`` makes the library ready, and is called until it has answered once; it may raise anything."""

    def __init__(self, driver: Callable[[], Any] | None = None, environment: Mapping[str, str] = os.environ) -> None:
        self._driver = driver or _nvml
        self._environment = environment
        self._nvml: Any = None
        self._said = False

    def describe(self) -> Iterable[Metric]:
        """The names, without asking the driver."""
        return self._families().values()

    def collect(self) -> Iterator[Metric]:
        """Every reading of every GPU; what a GPU does not tell (power, of some) is left out."""
        families = self._families()
        for gpu, handle in self._handles():
            for name, _, read in READINGS:
                if (value := self._told(lambda read=read, handle=handle: float(read(self._nvml, handle)))) is not None:  # type: ignore[misc]
                    families[name].add_metric((gpu,), value)
            if (called := self._told(lambda handle=handle: str(self._nvml.nvmlDeviceGetName(handle)))) is not None:  # type: ignore[misc]
                families[INFO].add_metric((gpu, called), 1)
        yield from families.values()

    def _families(self) -> dict[str, GaugeMetricFamily]:
        families = {name: GaugeMetricFamily(name, words, labels=("gpu",)) for name, words, _ in READINGS}
        return families | {INFO: GaugeMetricFamily(INFO, "What it is called.", labels=("gpu", "name"))}

    def _handles(self) -> list[tuple[str, Any]]:
        """By number, those that are not hidden from this process."""
        if self._nvml is None:
            try:
                self._nvml = self._driver()
            except Exception as error:  # noqa: BLE001 -- no library, no driver, no GPU: all the same
                self._say(error)
                return []
        count = self._told(lambda: int(self._nvml.nvmlDeviceGetCount())) or 0
        handles = [(str(n), self._told(lambda n=n: self._nvml.nvmlDeviceGetHandleByIndex(n))) for n in range(count)]  # type: ignore[misc]
        return [(gpu, handle) for gpu, handle in handles if handle is not None and self._is_visible(gpu, handle)]

    def _is_visible(self, gpu: str, handle: Any) -> bool:
        listed = self._environment.get(VISIBLE)
        if listed is None:
            return True
        named = [part.strip() for part in listed.split(",")]
        uuid = self._told(lambda: str(self._nvml.nvmlDeviceGetUUID(handle))) or ""
        return gpu in named or any(part and uuid.startswith(part) for part in named)

    def _told(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except Exception as error:  # noqa: BLE001 -- a reading that it does not have, or a driver that went away
            self._say(error)
            return None

    def _say(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            log.info("gpu_not_read", reason=type(error).__name__)


def _nvml() -> Any:
    import pynvml  # type: ignore[import-untyped]

    pynvml.nvmlInit()
    return pynvml
