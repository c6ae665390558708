"""Every sample that processes can show: their registries, after everything that they count has happened once."""

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from gateway.core.window import Window
from gateway.metrics import KINDS, GatewayMetrics
from inference_worker.core.effects import Report, StartChild
from inference_worker.core.inputs import ChildGone, Heard
from inference_worker.core.limits import Identity, Limits
from inference_worker.core.worker import new_worker
from inference_worker.gpu_metrics import GpuMetrics
from inference_worker.messages import Failed, Progress
from inference_worker.metrics import WorkerMetrics
from operations.admin.metrics import OUTCOMES, AdminMetrics
from operations.admin.table import KINDS as KINDS_OF_WORK
from repo.deliveries import Backlog
from repo.metrics import new_registry
from schemas.api.live import CloseCode
from schemas.commands import AttemptFailed, AttemptHandedBack
from schemas.deliveries import DeliveryKind, DeliveryState
from schemas.events import CommandAnswered, Outcome
from schemas.failures import FailureCode
from schemas.jobs import AttemptEnd, ChargeState, EarlierAttempt, Failure
from schemas.lifecycle import State
from schemas.phases import Phase
from streams.core.deliveries import Result
from streams.core.pool_state import empty_pool
from streams.metrics import StreamsMetrics
from streams.settings import Role
from streams.vitals import PartitionVitals, new_vitals
from tests.repo.jobs import NOW, a_job

Samples = dict[str, dict[str, set[str]]]  # by name, by label, the values that were seen


def samples() -> Samples:
    """Of all processes together."""
    seen: Samples = {}
    for registry in _registries():
        for family in registry.collect():
            for sample in family.samples:
                labels = seen.setdefault(sample.name, defaultdict(set))
                for label, value in sample.labels.items():
                    labels[label].add(value)
    return seen


def families() -> set[str]:
    """The names of all that is registered, whether or not there are samples."""
    found = [family for registry in _registries() for family in registry.collect()]
    return {family.name for family in found}


def _registries() -> tuple[CollectorRegistry, ...]:
    return _gateway(), _streams(), _worker(), _admin()


def _gateway() -> CollectorRegistry:
    metrics = GatewayMetrics(new_registry("gateway"))
    for status in (0, 101, 200, 302, 404, 503):
        metrics.requests.began()
        metrics.requests.ended("/readyz", "GET", status, 0.1)
    metrics.requests.ended("/healthz", "GET", 200, 0.1)
    for outcome in (*Outcome, "late", "unavailable", "gone"):
        metrics.decided(str(outcome), 0.1)
    metrics.told(5)
    for kind in KINDS:
        metrics.tally.opened[kind] += 1
    for code in (*(str(int(code)) for code in CloseCode), "lost"):
        metrics.tally.closed[code] += 1
    metrics.watch_open(lambda: dict.fromkeys(KINDS, 1))
    metrics.watch_feed(Window(1000, 1000), lambda: True)
    metrics.watch_servers(("kafka", "mongodb", "s3", "s3_fallback"), list)
    metrics.watch_decisions(lambda: 0)
    return metrics.registry


def _streams() -> CollectorRegistry:
    metrics = StreamsMetrics(new_registry("streams"))
    vitals = new_vitals(tuple(Role))
    for role in Role:
        vitals.roles[role].partitions = {0: PartitionVitals(moved_at=0, committed_at=0)}
        metrics.handled(role, "dev.openv.command.submit.v1", 0.1)
        metrics.read_back(role)
    metrics.watch(vitals)
    metrics.watch_pools(lambda: [empty_pool("mochi")])
    for outcome in Outcome:
        metrics.answered(CommandAnswered(command_id="c", user_id="u", outcome=outcome))
    _jobs(metrics)
    for kind in DeliveryKind:
        for state, error in ((DeliveryState.SUCCEEDED, None), (DeliveryState.FAILED, "HTTP 500")):
            metrics.tried(kind, Result(at=NOW, duration_ms=5, status=200, error=error), state)
        metrics.tried(kind, Result(at=NOW, duration_ms=5, put_off=True), DeliveryState.PENDING)
        metrics.cancelled(kind)
    metrics.backlog(Backlog(1, NOW), NOW)
    metrics.files_deleted(1)
    return metrics.registry


def _jobs(metrics: StreamsMetrics) -> None:
    queued = a_job("somebody")
    running = replace(queued, state=State.PROCESSING, started_at=NOW + 5, worker_id="w")
    captured = replace(queued.charge, state=ChargeState.CAPTURED)
    metrics.wrote(None, queued)
    metrics.wrote(queued, running)
    metrics.wrote(running, replace(running, state=State.COMPLETED, finished_at=NOW + 9, charge=captured))
    refunded = replace(queued.charge, state=ChargeState.REFUNDED)
    code = FailureCode.ENGINE_ERROR
    for state in (State.FAILED, State.CANCELLED, State.TIMED_OUT, State.DELETED):
        metrics.wrote(running, replace(running, state=state, charge=refunded, failure=Failure(code=code, message="")))
    for end in AttemptEnd:
        for code in (FailureCode.ENGINE_ERROR, FailureCode.HANDLER_ERROR, FailureCode.INVALID_INPUT):
            ended = EarlierAttempt(attempt=1, worker_id="w", end=end, code=code)
            metrics.wrote(running, replace(queued, attempt=2, earlier_attempts=(ended,)))


def _worker() -> CollectorRegistry:
    metrics = WorkerMetrics(new_registry("worker"))
    metrics.registry.register(GpuMetrics(a_driver, {}))
    worker = replace(new_worker(Identity("mochi", "w", "s"), Limits(), 0), engine="tiny", device="CPU")
    metrics.watch(lambda: worker)
    about = {"job_id": "j", "attempt": 1}
    for phase in Phase:
        told = Progress(phase=phase, step=1, steps=1, elapsed_ms=5, phase_ms=5, **about)  # type: ignore[arg-type]
        metrics.heard(Heard(1, told))
    metrics.heard(Heard(1, Failed(code=FailureCode.ENGINE_ERROR, message="", **about)))  # type: ignore[arg-type]
    metrics.performed(StartChild(1))
    metrics.heard(ChildGone(1, "gone"))
    whose = {"command_id": "c", "user_id": "u", "worker_id": "w", **about}
    metrics.performed(Report(AttemptFailed(code=FailureCode.OUT_OF_MEMORY, **whose)))  # type: ignore[arg-type]
    metrics.performed(Report(AttemptHandedBack(**whose)))  # type: ignore[arg-type]
    metrics.uploaded(5, 0.1)
    metrics.not_uploaded(0.1)
    metrics.retried("reports")
    return metrics.registry


def _admin() -> CollectorRegistry:
    metrics = AdminMetrics(new_registry("admin"), KINDS_OF_WORK)
    metrics.requests.ended("/jobs", "GET", 200, 0.1)
    metrics.took()
    metrics.left(next(iter(KINDS_OF_WORK)), OUTCOMES[0], 0.1)
    return metrics.registry


def a_driver() -> Any:
    """NVIDIA's library, of a machine with two GPUs; the second does not tell what it draws."""

    def power(handle: int) -> int:
        if handle:
            raise RuntimeError("Not Supported")
        return 350_000

    return SimpleNamespace(
        NVML_TEMPERATURE_GPU=0,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=50),
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=1 << 30, total=80 << 30),
        nvmlDeviceGetTemperature=lambda *_: 60,
        nvmlDeviceGetPowerUsage=power,
        nvmlDeviceGetName=lambda handle: f"GPU {handle}",
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}{handle}-abc",
    )
