"""The ``openv endpoints`` commands; the work is in ``operations/endpoints.py``."""

import secrets
from typing import Annotated

import typer
from rich.console import Console

from operations.running import DEFAULT_DATA_DIR, DataDirOption, run

endpoints_app = typer.Typer(
    help="Serverless endpoints, as RunPod calls them: make, list, change, delete; keys for their workers.",
    no_args_is_help=True,
)
DAY = 86_400
YEAR_MINUTES = 366 * 24 * 60

Name = Annotated[str, typer.Argument(help="The endpoint's name: what stands behind /v2/ in its address.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Engine = Annotated[str | None, typer.Option(help="Our own workers run its jobs: mochi. The default.")]
External = Annotated[bool, typer.Option("--external", help="Workers built on RunPod's SDK run its jobs: any JSON.")]
Pool = Annotated[str | None, typer.Option(help="The queue of our workers, their OPENV_POOL; mochi-1 by default.")]
MaxActive = Annotated[
    int | None, typer.Option(min=0, max=1_000_000, help="Jobs that one user may have at once; 1000 by default.")
]
RateLimit = Annotated[
    int | None, typer.Option(min=1, max=1_000_000, help="Requests of one user in a rate window; 1000 by default.")
]
RateWindow = Annotated[int | None, typer.Option(min=1, max=DAY, help="The rate window, in seconds; 10 by default.")]
MaxRetries = Annotated[
    int | None, typer.Option(min=0, max=100, help="Further tries of a job whose worker was lost; 2 by default.")
]
ExecutionTimeout = Annotated[
    int | None, typer.Option(min=5, max=7 * DAY, help="How long one try may take, in seconds; 600 by default.")
]
Ttl = Annotated[
    int | None, typer.Option(min=10, max=7 * DAY, help="How long a job may live, in seconds; 86400 by default.")
]
ResultMinutes = Annotated[
    int | None, typer.Option(min=1, max=YEAR_MINUTES, help="How long a result can be asked for; 30 by default.")
]
Users = Annotated[
    list[str] | None, typer.Option("--user", help="Who may use it, may be given several times; else everyone.")
]
Signing = Annotated[
    str | None,
    typer.Option("--webhook-secret", help="Sign completion webhooks: `generate`, or whsec_ and base64."),
]
Description = Annotated[str | None, typer.Option(help="What it is for, for people.")]


@endpoints_app.command("create")
def create(
    name: Name,
    engine: Engine = None,
    external: External = False,
    pool: Pool = None,
    max_active: MaxActive = None,
    rate_limit: RateLimit = None,
    rate_window: RateWindow = None,
    max_retries: MaxRetries = None,
    execution_timeout: ExecutionTimeout = None,
    ttl: Ttl = None,
    result_minutes: ResultMinutes = None,
    user: Users = None,
    webhook_secret: Signing = None,
    description: Description = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Make an endpoint and print its address.

    Example: `openv endpoints create upscale --external --execution-timeout 120 --user alice`
    """
    from operations.endpoint_wishes import Wishes
    from operations.endpoints import create as work

    wishes = Wishes(
        engine=engine,
        external=external,
        pool=pool,
        max_active=max_active,
        rate_limit=rate_limit,
        rate_window_ms=_ms(rate_window),
        max_retries=max_retries,
        execution_timeout_ms=_ms(execution_timeout),
        ttl_ms=_ms(ttl),
        result_ms=_ms(result_minutes, 60_000),
        users=tuple(user or ()),
        signing=_signing(webhook_secret),
        description=description,
    )
    run(work(data_dir, name, wishes))


@endpoints_app.command("update")
def update(
    name: Name,
    engine: Engine = None,
    external: External = False,
    pool: Pool = None,
    max_active: MaxActive = None,
    rate_limit: RateLimit = None,
    rate_window: RateWindow = None,
    max_retries: MaxRetries = None,
    execution_timeout: ExecutionTimeout = None,
    ttl: Ttl = None,
    result_minutes: ResultMinutes = None,
    user: Users = None,
    everyone: Annotated[bool, typer.Option("--everyone", help="Whoever has a key may use it.")] = False,
    webhook_secret: Signing = None,
    no_webhook_secret: Annotated[
        bool, typer.Option("--no-webhook-secret", help="Completion webhooks are not signed any more.")
    ] = False,
    description: Description = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Change an endpoint; what is not named stays. `--user` replaces all who were named before.

    Example: `openv endpoints update upscale --max-active 20 --everyone`
    """
    from operations.endpoint_wishes import Wishes
    from operations.endpoints import update as work

    wishes = Wishes(
        engine=engine,
        external=external,
        pool=pool,
        max_active=max_active,
        rate_limit=rate_limit,
        rate_window_ms=_ms(rate_window),
        max_retries=max_retries,
        execution_timeout_ms=_ms(execution_timeout),
        ttl_ms=_ms(ttl),
        result_ms=_ms(result_minutes, 60_000),
        users=tuple(user or ()),
        everyone=everyone,
        signing=_signing(webhook_secret),
        drop_signing=no_webhook_secret,
        description=description,
    )
    run(work(data_dir, name, wishes))


@endpoints_app.command("list")
def listed(as_json: AsJson = False, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """List all endpoints.

    Example: `openv endpoints list --json`
    """
    from operations.endpoints import listed as work

    run(work(data_dir, Console(), as_json=as_json))


@endpoints_app.command("show")
def show(name: Name, as_json: AsJson = False, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Show one endpoint: its address, limits, jobs under way, keys of its workers.

    Example: `openv endpoints show mochi-1`
    """
    from operations.endpoints import show as work

    run(work(data_dir, name, Console(), as_json=as_json))


@endpoints_app.command("delete")
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Delete an endpoint: nobody may use it any more. Says how many of its jobs are under way.

    Example: `openv endpoints delete upscale --yes`
    """
    from operations.endpoints import delete as work

    def agreed(words: str) -> None:
        if not yes:
            typer.confirm(words, abort=True)

    run(work(data_dir, name, agreed))


@endpoints_app.command("key")
def key(
    name: Name,
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
    from operations.endpoints import worker_key as work

    run(work(data_dir, name, label, url, pod, expires_days, shell=shell))


def _ms(value: int | None, unit_ms: int = 1_000) -> int | None:
    return None if value is None else value * unit_ms


def _signing(asked: str | None) -> str | None:
    from operations.endpoint_wishes import GENERATE, SECRET_BYTES, signing_secret

    return signing_secret(secrets.token_bytes(SECRET_BYTES)) if asked == GENERATE else asked
