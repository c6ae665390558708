"""The jars of the embedded Kafka and MongoDB stand-in: fetched once per user by Maven, kept in a cache."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from operations.stack.child import Command, read_tail, run_to_end
from operations.stack.errors import StackError, last_words
from operations.stack.space import is_full

HERE = Path(__file__).parent
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy-dependencies"
_FETCH_WITHIN_S = 1800.0
_COMPILE_WITHIN_S = 120.0
_LISTED = "files.txt"
_SOURCES = ("DurableMongo.java", "ByIdDatabase.java")
INSTALL = "sudo apt-get install -y default-jdk-headless maven"

Note = Callable[[str], None]


@dataclass(frozen=True)
class Jars:
    """Class paths, in an order that stays the same (an AppCDS archive is only good for the one it was made with)."""

    kafka: str
    kafka_folder: Path
    mongo: str


def cache_folder(environ: Mapping[str, str]) -> Path:
    """``OPENV_CACHE_DIR``, or ``openv`` in the user's cache folder."""
    if named := environ.get("OPENV_CACHE_DIR"):
        return Path(named).expanduser().absolute()
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "openv"


def program(name: str) -> str:
    """Where a program is. Raises ``StackError`` that names what installs it."""
    found = shutil.which(name)
    if found is None:
        raise StackError(
            f"`{name}` is missing; the embedded servers need a JDK (17 or newer) and Maven: {INSTALL}. "
            "Or set KAFKA_BOOTSTRAP_SERVERS and MONGODB_URI to servers of your own."
        )
    return found


async def ensure_jars(note: Note, environ: Mapping[str, str]) -> Jars:
    """The jars, fetched and compiled first if this machine does not have them. Raises ``StackError``."""
    cache = cache_folder(environ)
    kafka = cache / f"jars-kafka-{_fingerprint('kafka.xml')}"
    mongo = cache / f"jars-mongo-{_fingerprint('mongo.xml', *_SOURCES)}"
    if not (_is_whole(kafka) and _is_whole(mongo)):
        async with cache_lock(cache):
            if not _is_whole(kafka):
                note("Fetching Kafka 4.3.1 with Maven (about 54 MB)")
                await _build(kafka, "kafka.xml", environ)
            if not _is_whole(mongo):
                note("Fetching the MongoDB stand-in with Maven (about 8 MB)")
                await _build(mongo, "mongo.xml", environ, _SOURCES)
    return Jars(_class_path(kafka), kafka, _class_path(mongo))


@contextlib.asynccontextmanager
async def cache_lock(cache: Path) -> AsyncIterator[None]:
    """One process at a time fills the cache; Maven's own repository is not made for two either."""
    handle = _open_lock(cache)
    try:
        while not _try_lock(handle):  # noqa: ASYNC110 - a file lock has no event to wait for
            await asyncio.sleep(0.1)
        yield
    finally:
        os.close(handle)


def _open_lock(cache: Path) -> int:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return os.open(cache / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StackError(
            f"{cache} can't be written: {error.strerror}. Set OPENV_CACHE_DIR to another folder."
        ) from error


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _fingerprint(*names: str) -> str:
    return hashlib.sha256(b"\0".join((HERE / name).read_bytes() for name in names)).hexdigest()[:16]


def _is_whole(folder: Path) -> bool:
    """Whether every file that was put there is still there."""
    try:
        listed = (folder / _LISTED).read_text().splitlines()
    except FileNotFoundError:
        return folder.is_dir()  # made before there was a list
    return all((folder / name).is_file() for name in listed)


def _mend(folder: Path, whole: Path) -> None:
    """Puts back what is missing, file by file: other stacks may be running from this folder."""
    for entry in whole.iterdir():
        if not (folder / entry.name).exists():
            entry.rename(folder / entry.name)
    for archive in folder.glob("*.jsa"):  # good only for the very files that it was made with
        archive.unlink()


def _class_path(folder: Path) -> str:
    return os.pathsep.join([str(folder), *(str(jar) for jar in sorted(folder.glob("*.jar")))])


async def _build(target: Path, pom: str, environ: Mapping[str, str], sources: tuple[str, ...] = ()) -> None:
    """Makes the folder beside its place and renames it there when it is whole. The caller holds the cache's lock."""
    maven = program("mvn")
    log = target.parent / f"{target.name}.log"
    with _unfinished(target, log) as folder:
        fetch = (maven, "-B", "-q", "-C", "-f", str(HERE / pom), _COPY, f"-DoutputDirectory={folder}")
        await _run(fetch, log, environ, _FETCH_WITHIN_S, "Maven could not fetch the servers' jars. Check the network")
        if sources:
            files = (str(HERE / source) for source in sources)
            compiler = (program("javac"), "--release", "17", "-cp", f"{folder}/*", "-d", str(folder), *files)
            named = " and ".join(sources)
            await _run(compiler, log, environ, _COMPILE_WITHIN_S, f"javac could not compile {named}. Is it 17+")


@contextlib.contextmanager
def _unfinished(target: Path, log: Path) -> Iterator[Path]:
    """A new folder that becomes ``target`` at the end of a block without an error."""
    folder = None
    try:
        for left_over in target.parent.glob(f".{target.name}.*"):  # of a fetch that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        log.unlink(missing_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        yield folder
        (folder / _LISTED).write_text("".join(f"{entry.name}\n" for entry in sorted(folder.iterdir())))
        if target.exists():
            _mend(target, folder)
        else:
            folder.rename(target)
    except OSError as error:
        if is_full(error):
            raise StackError(f"The disk that holds {target.parent} is full. Free some space there.") from error
        raise StackError(f"{target.parent} can't be written: {error.strerror}. Give it to your user.") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


async def _run(argv: tuple[str, ...], log: Path, environ: Mapping[str, str], within_s: float, failed: str) -> None:
    try:
        code = await run_to_end(Command(argv, environ), log, within_s)
    except TimeoutError:
        code = -1
    if code != 0:
        errors = "\n".join(line for line in read_tail(log).splitlines() if "ERROR" in line or "error:" in line)
        first = errors.splitlines()[0][:300] if errors else last_words(read_tail(log))
        raise StackError(f"{failed} and run the command again; the log is {log}. It says: {first}")
