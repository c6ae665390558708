"""The ``openv`` command line. Each command says what it does, with an example; the work is in the modules beside."""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from operations import entry
from operations.audit.cli import audit_app
from operations.deadletters.cli import deadletters_app
from operations.doctor.cli import doctor_app
from operations.endpoints.cli import endpoints_app
from operations.jobs.cli import jobs_app
from operations.recovery.cli import recovery_app
from operations.replay.cli import replay_app
from operations.running import DEFAULT_DATA_DIR, DataDirOption, ended_by_sigterm
from operations.running import run as _run
from operations.stack.errors import StackError
from operations.topics_cli import topics_app
from operations.users.cli import users_app
from operations.workers.cli import workers_app

app = typer.Typer(
    name="openv",
    help="OpenV: a self-hosted, event-driven video generation backend.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
keys_app = typer.Typer(help="API keys: create, list, revoke; links to the page.", no_args_is_help=True)
app.add_typer(topics_app, name="topics")
app.add_typer(keys_app, name="keys")
app.add_typer(users_app, name="users")
app.add_typer(endpoints_app, name="endpoints")
app.add_typer(jobs_app, name="jobs")
app.add_typer(workers_app, name="workers")
app.add_typer(deadletters_app, name="deadletters")
app.add_typer(audit_app, name="audit")
for top_level in (replay_app, recovery_app, doctor_app):  # their commands are `openv replay`, `openv backup` …
    app.add_typer(top_level)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"openv {version('openv')}")
        raise typer.Exit


@app.callback()
def options(
    asked: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """OpenV: a self-hosted, event-driven video generation backend."""


@app.command()
def up(
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    host: Annotated[str, typer.Option(envvar="OPENV_HOST", help="Address the gateway listens on.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, envvar="OPENV_PORT", help="Port the gateway listens on; 0 takes a free one."),
    ] = 8000,
    workers: Annotated[int, typer.Option(min=0, help="How many workers to run here.")] = 1,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Run no worker (they run elsewhere).")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once everything is ready; `openv down` stops it.")
    ] = False,
    prompt: Annotated[str | None, typer.Option(help="Make this video once everything is ready.")] = None,
) -> None:
    """Start the whole system here and keep it running until Ctrl-C.

    Starts Kafka, the MongoDB stand-in and the S3 server (each only where KAFKA_BOOTSTRAP_SERVERS, MONGODB_URI or
    S3_ENDPOINT_URL does not name another), then gateway, streams, the admin API and workers. A part that dies is
    started again.

    Example: `openv up --workers 2 --port 9000`
    """
    from operations.up import Options, detached, up_forever

    options = Options(data_dir, host, port, 0 if no_worker else workers, prompt)
    if detach:
        _run(detached(options, Console()))
    else:
        _run(up_forever(options, Console()))


@app.command()
def down(data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Stop the stack that runs on a data directory; its data stays.

    Example: `openv down`
    """
    from operations.local import stop

    typer.echo(stop(data_dir))


@app.command()
def status(
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show whether a stack runs on a data directory, its parts, and whether the gateway is ready. Exit code 3 if not.

    Example: `openv status --json`
    """
    from operations.local import show_status

    text, running = show_status(data_dir, as_json=as_json)
    typer.echo(text)
    if not running:
        raise typer.Exit(3)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What the video shows, 1 to 500 characters.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The file to write.")] = None,
    frames: Annotated[
        int | None, typer.Option(help="Length, 7 to 127 in steps of 6 (24 a second); others are rounded down.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps, 10 to 65.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels, 384 to 848 in steps of 16.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels, 384 to 848 in steps of 16.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same video.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What the video should not show.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the finished job as JSON, no progress bar.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Make one video and save it, with a live progress bar. Ctrl-C cancels the job.

    Asks the gateway of OPENV_URL with the key of OPENV_API_KEY; without them, the local stack of the data directory.

    Example: `openv generate "a corgi surfing at sunset" --frames 61 --seed 7 -o corgi.mp4`
    """
    from operations.client import OpenVClient
    from operations.generate import generate as make
    from operations.local import endpoint

    body: dict[str, Any] = {
        "prompt": prompt,
        "num_frames": frames,
        "steps": steps,
        "width": width,
        "height": height,
        "seed": seed,
        "negative_prompt": negative_prompt,
    }

    async def run() -> None:
        async with OpenVClient(endpoint(data_dir, os.environ)) as client:
            asked = {name: value for name, value in body.items() if value is not None}
            await make(client, asked, output, Console(), as_json=as_json)

    _run(ended_by_sigterm(run()))


def _part(module: str, arguments: list[str]) -> None:
    """Become one part: the same process, so that signals and the supervisor's pid mean it."""
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 -- no shell is wanted


@app.command()
def gateway() -> None:
    """Run one gateway: HTTP and WebSocket. Configured by the environment; any number may run.

    Needs KAFKA_BOOTSTRAP_SERVERS, MONGODB_URI, S3_ENDPOINT_URL, S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY.

    Example: `OPENV_HOST=0.0.0.0 OPENV_PORT=8000 openv gateway`
    """
    _part("gateway", [])


@app.command()
def streams(
    role: Annotated[
        str | None, typer.Option(help="ledger, scheduler, janitor or notifier; all of them by default.")
    ] = None,
) -> None:
    """Run one stream processor: ledger, scheduler, janitor and notifier, or one role alone. Any number may run.

    Example: `openv streams --role ledger`
    """
    _part("streams", [] if role is None else ["--role", role])


@app.command()
def worker() -> None:
    """Run one worker: one GPU, one video at a time. OPENV_ENGINE: mochi, tiny, runpod or auto; OPENV_POOL: its queue.

    Example: `OPENV_ENGINE=mochi OPENV_MOCHI_MODEL=/models/mochi-1-preview openv worker`
    """
    _part("inference_worker", [])


@app.command()
def admin() -> None:
    """Run the admin API: HTTP for admins, for what `openv` does here. OPENV_ADMIN_HOST, OPENV_ADMIN_PORT: where.

    Example: `OPENV_ADMIN_PORT=8001 openv admin`
    """
    _part("operations.admin", [])


@keys_app.command("create")
def keys_create(
    user: Annotated[str, typer.Option(help="Whose key: the user id.")],
    name: Annotated[str, typer.Option(help="What it is for, for people.")] = "",
    role: Annotated[str, typer.Option(help="restricted, user or admin.")] = "user",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read, write or admin; may be given several times. All that the role may have by default."),
    ] = None,
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="For how many days it is good; for ever by default.")
    ] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Create an API key and print it, once: only its hash is kept.

    Example: `openv keys create --user alice --name dashboard --scope read --expires-days 90`
    """
    from operations.keys import create

    _run(create(data_dir, user, name, role, scope or (), expires_days))


@keys_app.command("link")
def keys_link(
    user: Annotated[str, typer.Option(help="Whose page: the user id.")], data_dir: DataDirOption = DEFAULT_DATA_DIR
) -> None:
    """Print a link that opens the page once, within a day, and keeps it open for 30 days.

    Example: `openv keys link --user alice`
    """
    from operations.keys import link

    _run(link(data_dir, user))


@keys_app.command("list")
def keys_list(
    user: Annotated[str, typer.Option(help="Whose keys.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List a user's keys and sessions by their first characters: what for, when last used (UTC), until when.

    Example: `openv keys list --user alice`
    """
    from operations.keys import show

    _run(show(data_dir, user, Console(), as_json=as_json))


@keys_app.command("revoke")
def keys_revoke(
    user: Annotated[str, typer.Option(help="Whose key.")],
    prefix: Annotated[
        str, typer.Argument(help="The key's first characters, as `openv keys list` shows them, or all of it.")
    ],
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Revoke a key; gateways refuse it within half a minute.

    Example: `openv keys revoke --user alice ov_Ab3x`
    """
    from operations.keys import revoke

    _run(revoke(data_dir, user, prefix))


def command_line() -> None:
    """Read what was typed, do it, and exit."""
    try:
        app()
    except StackError as error:
        typer.echo(f"openv: {error}", err=True)
        sys.exit(1)


main = entry.main  # where the installed script begins
