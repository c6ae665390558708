"""``python -m bench``: runs the measurements, prints every figure, writes ``docs/benchmarks.md``."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from bench import machine, report
from bench.driver import Failed
from bench.figures import Figure
from bench.measurement import Measurement
from bench.registry import MEASUREMENTS
from bench.world import World
from operations.stack.errors import StackError
from repo.ports import Unavailable


def main() -> int:
    """The exit code: 0 when all was measured (whether an aim is met or not), 1 when something could not be."""
    arguments = _parser().parse_args()
    chosen = [one for one in MEASUREMENTS if arguments.only in (None, one.name)]
    results = report.read()
    failed = False
    for one in chosen:
        began = time.monotonic()
        print(f"== {one.title}", flush=True)
        try:
            figures = asyncio.run(measured(one, quick=arguments.quick))
        except (Failed, StackError, Unavailable, TimeoutError) as error:
            print(f"   not measured: {str(error) or f'it takes longer than {one.within_s:g} s'}", flush=True)
            failed = True
            continue
        print(f"{report.table(figures)}\n   {time.monotonic() - began:.0f} s", flush=True)
        if not arguments.quick:
            results[one.name] = report.section(figures, machine.in_words())
            report.write(results, MEASUREMENTS)
    return 1 if failed else 0


async def measured(one: Measurement, *, quick: bool) -> list[Figure]:
    """One measurement on servers of its own, in bounded time."""
    with tempfile.TemporaryDirectory(prefix="openv-bench-") as folder:
        async with asyncio.timeout(one.within_s), World(Path(folder) / "data", quick=quick) as world:
            return list(await one.run(world))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure OpenV against bare baselines.")
    names = [one.name for one in MEASUREMENTS]
    parser.add_argument("--only", metavar="NAME", choices=names, help=f"one measurement: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="the smallest size, to see that it runs; writes nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
