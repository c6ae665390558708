"""All measurements, in the order of the report. A whole run takes a quarter of an hour at most."""

from bench import commands, events, fan_out, listing, makespan, request_path, sockets, worker_gap
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
)
