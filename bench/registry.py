"""All measurements, in the order of the report. A whole run takes half an hour at most."""

from bench import (
    commands,
    deadletters,
    events,
    fan_out,
    listing,
    long_polls,
    makespan,
    rebuild,
    replay,
    request_path,
    runpod_requests,
    sdk_workers,
    sockets,
    worker_gap,
)
from bench.measurement import Measurement

MEASUREMENTS: tuple[Measurement, ...] = (
    request_path.MEASUREMENT,
    listing.MEASUREMENT,
    commands.MEASUREMENT,
    events.MEASUREMENT,
    sockets.MEASUREMENT,
    fan_out.MEASUREMENT,
    worker_gap.MEASUREMENT,
    makespan.MEASUREMENT,
    runpod_requests.MEASUREMENT,
    sdk_workers.MEASUREMENT,
    long_polls.MEASUREMENT,
    replay.MEASUREMENT,
    deadletters.MEASUREMENT,
    rebuild.MEASUREMENT,
)
