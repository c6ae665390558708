"""The child process: holds the model, makes one video at a time, and is killed if it has to be.

Started by ``child_process.Child`` as ``python -m inference_worker.child --engine NAME --fd N``. The main thread runs
the engine. A reader thread takes the parent's messages and sets stop flags; when the parent is gone it ends the
process at once, whatever the main thread is doing. A third thread's heartbeat tells "alive" from "getting on".
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import socket
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue

import structlog

from inference_worker.attempt_run import AttemptRun
from inference_worker.engines.choose import choose_engine
from inference_worker.engines.protocol import Engine, EngineFailure, Step
from inference_worker.messages import (
    Exit,
    FromChild,
    Generate,
    Heartbeat,
    Loading,
    PipeMessage,
    Ready,
    Stop,
    Unloadable,
)
from inference_worker.pipe import BadFrame, FrameReader, to_frame
from repo import logs
from schemas.failures import FailureCode

HEARTBEAT_SECONDS = 1.0
READ_BYTES = 1 << 16
EXIT_UNLOADABLE = 3  # the model can't be loaded
EXIT_FATAL = 4  # the attempt broke the process for all later ones
EXIT_BAD_FRAME = 5  # the parent sent what is no message
REASON_MAX = 500

log = structlog.get_logger()


class Channel:
    """The child's end of the socket. Any thread may send."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._progress = 0

    def send(self, message: FromChild) -> None:
        """Send a message; waits while the parent does not read. A parent that is gone ends the process."""
        frame = to_frame(message)
        try:
            with self._sending:
                self._socket.sendall(frame)
        except OSError:
            end_now(0)

    def receive(self) -> bytes:
        """The next bytes; none when the parent is gone."""
        try:
            return self._socket.recv(READ_BYTES)
        except OSError:
            return b""

    def count_step(self) -> None:
        """Something moved on. Called by the main thread alone."""
        self._progress += 1

    def beat(self) -> None:
        """Send heartbeats for ever. Runs in a thread of its own."""
        pause = threading.Event()
        while not pause.wait(HEARTBEAT_SECONDS):
            self.send(Heartbeat(progress=self._progress))


class Inbox:
    """What the parent asked for. The reader thread fills it, the main thread takes from it."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[Generate, threading.Event] | None] = SimpleQueue()
        self._flags: dict[tuple[str, int], threading.Event] = {}
        self._lock = threading.Lock()

    def take(self, message: PipeMessage) -> None:
        """Act on a message: queue an attempt, raise one's flag, or raise all of them and end the queue."""
        with self._lock:
            match message:
                case Generate():
                    flag = self._flags[message.job_id, message.attempt] = threading.Event()
                    self._asked.put((message, flag))
                case Stop():
                    # Every attempt has a flag of its own, so a late Stop can't hit the attempt after it.
                    if meant := self._flags.get((message.job_id, message.attempt)):
                        meant.set()
                case Exit():
                    for running in self._flags.values():
                        running.set()
                    self._asked.put(None)
                case _:
                    raise BadFrame(f"A {type(message).__name__} is not for a child.")

    def attempts(self) -> Iterator[tuple[Generate, threading.Event]]:
        """Attempts in order, each with its stop flag, until ``Exit``."""
        while (asked := self._asked.get()) is not None:
            yield asked
            with self._lock:
                self._flags.pop((asked[0].job_id, asked[0].attempt), None)


def read(channel: Channel, inbox: Inbox) -> None:
    """Pass the parent's messages to the inbox; the end of the stream is the end of the process."""
    reader = FrameReader()
    while data := channel.receive():
        try:
            for message in reader.feed(data):
                inbox.take(message)
        except BadFrame as error:
            log.error("child_bad_frame", reason=str(error))
            end_now(EXIT_BAD_FRAME)
    end_now(0)


def end_now(code: int) -> None:
    """End the process without waiting for the main thread, which may be deep inside a GPU call."""
    os._exit(code)


def serve(name: str, channel: Channel, inbox: Inbox, preview_ms: int) -> int:
    """Load the engine and run what is asked until ``Exit``. Returns the exit code."""
    engine = load(name, channel)
    if engine is None:
        return EXIT_UNLOADABLE
    channel.send(Ready(engine=engine.name, device=engine.device))
    for asked, flag in inbox.attempts():
        run = AttemptRun(engine, asked, flag.is_set, channel.send, channel.count_step, preview_ms)
        outcome = run.run()
        channel.send(outcome)
        if run.fatal:
            return EXIT_FATAL
    return 0


def load(name: str, channel: Channel) -> Engine | None:
    """The engine, loaded; None after telling the parent why not."""

    def report(step: Step) -> None:
        channel.count_step()
        channel.send(Loading(engine=name, step=step.step, steps=step.steps))

    try:
        engine = choose_engine(name)
        engine.load(report)
    except EngineFailure as failure:
        channel.send(Unloadable(engine=name, code=failure.code, message=failure.message))
    except Exception as error:
        # Its words as well, which a traceback leaves out: nobody has asked for anything yet that they could quote.
        log.exception("engine_unloadable", engine=name, reason=str(error)[:REASON_MAX])
        text = f"The engine {name!r} failed to load ({type(error).__name__}); the worker's log says where."
        channel.send(Unloadable(engine=name, code=FailureCode.MODEL_UNAVAILABLE, message=text))
    else:
        return engine
    return None


def main(arguments: list[str] | None = None) -> int:
    """Entry point: attach to the socket that the parent left open, then serve."""
    parser = argparse.ArgumentParser(description="OpenV's model process; started by the worker, not by hand.")
    parser.add_argument("--engine", required=True, help="mochi, tiny, or package.module:factory")
    parser.add_argument("--fd", required=True, type=int, help="the inherited socket to the parent")
    parser.add_argument("--preview-ms", type=int, default=1000, help="least time between two previews")
    chosen = parser.parse_args(arguments)
    faulthandler.enable()
    logs.set_up("model")
    channel, inbox = Channel(socket.socket(fileno=chosen.fd)), Inbox()
    threading.Thread(target=channel.beat, name="heartbeat", daemon=True).start()
    threading.Thread(target=read, args=(channel, inbox), name="reader", daemon=True).start()
    code = serve(chosen.engine, channel, inbox, chosen.preview_ms)
    # Not sys.exit: interpreter shutdown with torch's and the daemon threads still about can hang.
    sys.stderr.flush()
    end_now(code)
    return code


if __name__ == "__main__":
    main()
