"""The ``openv endpoints`` commands; the options are in ``options.py``, the work in ``changes.py``,
``views.py`` and ``keys.py``."""

from typing import Annotated

import typer
from rich.console import Console

from operations.endpoints import options as said
from operations.options import spread
from operations.running import DEFAULT_DATA_DIR, DataDirOption, require_agreement, run

endpoints_app = typer.Typer(
    help="Serverless endpoints, as RunPod calls them: make, list, change, delete; keys for their workers.",
    no_args_is_help=True,
)


@endpoints_app.command("create")
@spread
def create(name: said.Name, settings: said.Said, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Make an endpoint and print its address. What is not named has its default.

    Example: `openv endpoints create upscale --external --execution-timeout 120 --user alice`
    """
    from operations.endpoints.changes import create as work

    run(work(data_dir, name, settings.wishes()))


@endpoints_app.command("update")
@spread
def update(
    name: said.Name,
    settings: said.Said,
    everyone: said.Everyone = False,
    no_webhook_secret: said.NoSigning = False,
    no_description: said.NoDescription = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Change an endpoint: what is not named stays as it is. Gateways know it in a few seconds; jobs that were submitted
    before keep what they had.

    A default is what a new endpoint has; to go back to one, name it.

    Example: `openv endpoints update upscale --max-active 20 --everyone`
    """
    from operations.endpoints.changes import update as work

    wishes = settings.wishes(everyone=everyone, drop_signing=no_webhook_secret, drop_description=no_description)
    run(work(data_dir, name, wishes))


@endpoints_app.command("list")
def listed(as_json: said.AsJson = False, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """List all endpoints.

    Example: `openv endpoints list --json`
    """
    from operations.endpoints.views import listed as work

    run(work(data_dir, Console(), as_json=as_json))


@endpoints_app.command("show")
def show(name: said.Name, as_json: said.AsJson = False, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Show one endpoint: its address, limits, jobs under way, keys of its workers.

    Example: `openv endpoints show mochi-1`
    """
    from operations.endpoints.views import show as work

    run(work(data_dir, name, Console(), as_json=as_json))


@endpoints_app.command("delete")
def delete(
    name: said.Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Delete an endpoint: nobody may use it any more. Says how many of its jobs are under way.

    Example: `openv endpoints delete upscale --yes`
    """
    from operations.endpoints.changes import delete as work

    def agreed(words: str) -> None:
        if not yes:
            require_agreement(words)

    run(work(data_dir, name, agreed))


@endpoints_app.command("key")
def key(
    name: said.Name,
    label: Annotated[str, typer.Option("--name", help="What the key is for, for people.")] = "",
    url: Annotated[
        str | None, typer.Option(help="Where the worker reaches the gateway; OPENV_URL or the local stack by default.")
    ] = None,
    pod: Annotated[str | None, typer.Option(help="The worker's RUNPOD_POD_ID; made up by default.")] = None,
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="For how many days it is good; for ever by default.")
    ] = None,
    shell: Annotated[bool, typer.Option("--shell", help="Print lines for a shell, not for docker --env-file.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Make a key for an endpoint's workers, and print the environment that a container with RunPod's SDK needs.

    Example: `openv endpoints key upscale --url https://openv.example.org > worker.env`
    """
    from operations.endpoints.keys import worker_key as work

    run(work(data_dir, name, label, url, pod, expires_days, shell=shell))
