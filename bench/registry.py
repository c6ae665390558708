"""All measurements, in the order of the report. A whole run takes a quarter of an hour at most."""

from bench import commands, events, request_path
from bench.measurement import Measurement

MEASUREMENTS: tuple[Measurement, ...] = (
    request_path.MEASUREMENT,
    commands.MEASUREMENT,
    events.MEASUREMENT,
)
