"""Tests marked ``beside`` run in a second process, one after the other, while all others run in this one.

They start processes and servers of their own, and wait for them most of their time: they share nothing with the others
but the machine. They are the same tests there, with the same deadlines; each is reported here, when the others are
done, as it was reported there. Where nothing else was asked for, they run here.
"""

import json
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.outages.background import Background

MARK = "beside"
WORDS = f"{MARK}: waits most of its time, and shares nothing: runs in a second process beside the others"
REPORTS = "reports.jsonl"
WITHIN_S = 1200.0  # for one test, once it is looked at; it has a deadline of its own there, and so has each before it
LOOK_EVERY_S = 0.2


class Beside:
    """The plugin of the first process."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Once it is known which tests run."""
        away = [item for item in session.items if item.get_closest_marker(MARK) is not None]
        if session.config.option.collectonly or len(away) in (0, len(session.items)):
            return (yield)
        ids = [item.nodeid for item in away]
        session.items[:] = [item for item in session.items if item.nodeid not in ids]
        root = session.config.rootpath
        where = ("-c", str(session.config.inipath), "--rootdir", str(root))
        second = Background("tests.beside", *where, *(f"{root}/{one}" for one in ids))
        try:
            result = yield
            _report(session, away, second)
        finally:
            second.stop()
        return result


def _report(session: pytest.Session, items: list[pytest.Item], second: Background) -> None:
    """Say of each what the second process said. Raises ``session.Failed`` where no more is wanted to be known."""
    for item in items:
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in _reports(item, second, time.monotonic() + WITHIN_S):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)


def _reports(item: pytest.Item, second: Background, deadline: float) -> list[pytest.TestReport]:
    """Set-up, call and tear-down of one test, as they ended; a failure where the second process does not tell."""
    while True:
        ended = second.has_ended()  # before we read: what it has written by its end is read
        reports = [_read(item.config, data) for data in _told(second.folder / REPORTS).get(item.nodeid, [])]
        if any(report.when == "teardown" for report in reports):
            return reports
        if ended or time.monotonic() > deadline:
            words = f"The process beside this one {'ended' if ended else 'is not done'}; it said:\n{second.words()}"
            return [*reports, pytest.TestReport(item.nodeid, item.location, {}, "failed", words, "call")]
        time.sleep(LOOK_EVERY_S)


def _read(config: pytest.Config, data: dict[str, Any]) -> pytest.TestReport:
    report: pytest.TestReport = config.hook.pytest_report_from_serializable(config=config, data=data)
    if isinstance(report.longrepr, list):  # where and why it was skipped; JSON knows no tuples
        path, line, reason = report.longrepr
        report.longrepr = (path, line, reason)
    return report


def _told(file: Path) -> dict[str, list[dict[str, Any]]]:
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in file.read_text().splitlines(keepends=True) if file.exists() else ():
        if line.endswith("\n"):  # else it is being written
            report = json.loads(line)
            found[report["nodeid"]].append(report)
    return found


class Telling:
    """The plugin of the second process: writes every report into a file."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._config: pytest.Config | None = None

    def pytest_configure(self, config: pytest.Config) -> None:
        """It is needed to write down a report."""
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One of the three of each test."""
        assert self._config is not None
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._file.write(json.dumps(data) + "\n")
        self._file.flush()


def main(folder: Path, *arguments: str) -> int:
    """Run pytest with these; the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what the tests have started is ended
    with (folder / REPORTS).open("w") as file:
        return pytest.main(["-p", "no:cacheprovider", *arguments], plugins=[Telling(file)])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
