"""One child process: its log, its end, and what it leaves behind."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from operations.stack.child import Child, Command, run_to_end, server_environment
from operations.stack.errors import StackError, last_words
from tests.operations.stack.programs import STEADY, alive, command, until

WITH_A_GRANDCHILD = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(signal.SIGTERM, "
    "signal.SIG_IGN); time.sleep(600)'])\n"
    "open(sys.argv[1], 'w').write(str(child.pid)); "
)
DEAF = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "open(sys.argv[1], 'w').write('.'); time.sleep(600)"
)
SUPERVISOR = (
    "import os, sys, time; from pathlib import Path; from operations.stack.child import Child, Command\n"
    "sleep = Command((sys.executable, '-c', 'import time; time.sleep(600)'), dict(os.environ))\n"
    "children = [Child.start(sleep, Path(sys.argv[1]) / 'log') for _ in range(3)]\n"
    "print(*(child.pid for child in children), flush=True); time.sleep(600)"
)


async def test_the_end_of_a_program_is_told_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("an ERROR of yesterday\n")
    child = Child.start(command("import sys; print('fine'); sys.exit(7)"), tmp_path / "log")
    assert await child.wait() == 7
    assert child.last_words() == "fine"


async def test_a_program_that_is_not_there_is_named_in_the_log(tmp_path: Path) -> None:
    child = Child.start(Command(("no-such-program",), dict(os.environ)), tmp_path / "log")
    assert await child.wait() == 1
    assert child.last_words() == "can't start no-such-program: No such file or directory"


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no/such/log"):
        Child.start(command("pass"), tmp_path / "no" / "such" / "log")


async def test_a_log_is_for_its_owner_alone(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("of an older version\n")
    old.chmod(0o644)
    for log in (tmp_path / "new", old):
        assert await Child.start(command("print('fine')"), log).wait() == 0
        assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_a_large_log_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(11 * 1024 * 1024)
    await Child.start(command("print('new')"), log).wait()
    assert log.read_text() == "new\n"
    assert (tmp_path / "log.1").stat().st_size == 11 * 1024 * 1024


async def test_stop_ends_a_program_that_listens_and_one_that_does_not(tmp_path: Path) -> None:
    for program, signal_number in ((STEADY, signal.SIGTERM), (DEAF, signal.SIGKILL)):
        said = tmp_path / "said"
        said.unlink(missing_ok=True)
        child = Child.start(command(program, str(said)), tmp_path / "log")
        await until(said.exists)
        await child.stop(grace_s=5.0 if signal_number == signal.SIGTERM else 0.1)
        assert child.exit_code() == -signal_number


@pytest.mark.parametrize("ending", ["sys.exit(3)", "time.sleep(600)"])
async def test_what_a_child_has_started_ends_with_it(tmp_path: Path, ending: str) -> None:
    said = tmp_path / "said"
    child = Child.start(command(WITH_A_GRANDCHILD + ending, str(said)), tmp_path / "log")
    await until(lambda: said.exists() and said.read_text() != "")
    grandchild = int(said.read_text())
    if "exit" in ending:
        assert await child.wait() == 3
    else:
        await child.stop(grace_s=5.0)
    await until(lambda: not alive(grandchild))


async def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path)], stdout=subprocess.PIPE) as supervisor:  # noqa: ASYNC220
        assert supervisor.stdout is not None
        pids = [int(pid) for pid in supervisor.stdout.readline().split()]
        # A session of its own each: the terminal's Ctrl-C is for the supervisor only.
        assert [os.getsid(pid) for pid in pids] == pids
        assert len(pids) == 3
        supervisor.kill()
    await until(lambda: not any(alive(pid) for pid in pids))


def test_other_threads_than_the_main_one_may_not_start_children(tmp_path: Path) -> None:
    refusals: list[str] = []

    def start() -> None:
        try:
            Child.start(command("pass"), tmp_path / "log")
        except RuntimeError as error:
            refusals.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert len(refusals) == 1
    assert "main thread" in refusals[0]


async def test_a_program_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with pytest.raises(TimeoutError):
        await run_to_end(command(STEADY, str(said)), tmp_path / "log", timeout_s=0.5)
    assert not said.exists() or not alive(int(said.read_text()))


def test_servers_get_no_secrets_and_no_settings_of_ours() -> None:
    environ = {"PATH": "/bin", "S3_BUCKET": "x", "AWS_SECRET_ACCESS_KEY": "x", "RUNPOD_API_KEY": "x"}
    assert server_environment(environ) == {"PATH": "/bin", "LC_ALL": "C.UTF-8"}


def test_last_words_prefer_a_complaint() -> None:
    assert last_words("starting\njava.net.BindException: taken\n  \nbye\n") == "java.net.BindException: taken"
    assert last_words("one\ntwo\n\n") == "two"
    assert last_words("") == "it printed nothing"
