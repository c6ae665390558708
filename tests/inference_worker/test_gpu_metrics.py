"""What is read of GPUs, and that none is no fault."""

from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.utils import floatToGoString

from inference_worker.gpu_metrics import GpuMetrics
from tests.deployment.observed import a_driver


def shown(metrics: GpuMetrics) -> str:
    registry = CollectorRegistry(auto_describe=True)
    registry.register(metrics)
    return generate_latest(registry).decode()


def test_every_gpu_is_shown_and_what_one_does_not_tell_is_left_out() -> None:
    text = shown(GpuMetrics(a_driver, {}))
    assert 'openv_gpu_utilization_ratio{gpu="0"} 0.5' in text
    assert f'openv_gpu_memory_total_bytes{{gpu="1"}} {floatToGoString(80 << 30)}' in text
    assert 'openv_gpu_power_watts{gpu="0"} 350.0' in text
    assert 'openv_gpu_power_watts{gpu="1"}' not in text
    assert 'openv_gpu_info{gpu="0",name="GPU 0"} 1.0' in text


def test_gpus_that_are_hidden_from_the_process_are_not_shown() -> None:
    for visible, gpus in (("1", "1"), ("GPU-00", "0"), ("0,1", "01"), ("", ""), ("-1", "")):
        text = shown(GpuMetrics(a_driver, {"CUDA_VISIBLE_DEVICES": visible}))
        assert [f'openv_gpu_temperature_celsius{{gpu="{gpu}"}}' in text for gpu in "01"] == [g in gpus for g in "01"]


def test_without_a_driver_there_is_nothing_and_it_is_asked_again() -> None:
    asked = []

    def absent() -> Any:
        asked.append(1)
        if len(asked) < 2:
            raise OSError("no such library")
        return a_driver()

    metrics = GpuMetrics(absent, {})
    assert 'gpu="0"' not in shown(metrics)
    assert 'gpu="0"' in shown(metrics)
