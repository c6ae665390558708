"""Kafka's own console tools as a copy: a console consumer's lines piped into a console producer."""

import asyncio
import os
import time
from pathlib import Path

from bench.driver import Failed
from operations.stack.jars import ensure_jars, program

CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
WITHIN_S = 200.0


async def seconds_to_copy(address: str, source: str, target: str, count: int, folder: Path) -> float:
    """Wall time, both JVMs' starts included. Keys and values go along, headers do not. Raises ``Failed``."""
    jars = await ensure_jars(lambda _line: None, os.environ)
    java = (program("java"), "-Xmx256m", "-cp", jars.kafka)
    read = (
        *java, CONSUMER, "--bootstrap-server", address, "--topic", source, "--from-beginning",
        "--max-messages", str(count), "--formatter-property", "print.key=true",
    )  # fmt: skip
    write = (
        *java, PRODUCER, "--bootstrap-server", address, "--topic", target, "--reader-property", "parse.key=true",
        "--command-property", "acks=all", "--command-property", "enable.idempotence=true", "--batch-size", "524288",
    )  # fmt: skip
    reading, writing = os.pipe()
    began = time.perf_counter()
    with (folder / "console.log").open("ab") as log:
        consumer = await asyncio.create_subprocess_exec(*read, stdout=writing, stderr=log)
        producer = await asyncio.create_subprocess_exec(*write, stdin=reading, stdout=log, stderr=log)
    os.close(reading)
    os.close(writing)
    try:
        async with asyncio.timeout(WITHIN_S):
            codes = [await consumer.wait(), await producer.wait()]
    finally:
        for one in (consumer, producer):
            if one.returncode is None:
                one.kill()
                await one.wait()
    if any(codes):
        raise Failed(f"Kafka's console tools ended with {codes}: {(folder / 'console.log').read_text()[-500:]}")
    return time.perf_counter() - began
