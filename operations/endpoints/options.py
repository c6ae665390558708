"""What ``openv endpoints`` is told on the command line. The words hold for ``create`` and ``update`` alike.

What an endpoint may lack has a flag that takes it away; everything else has a default that can be named again.
"""

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from operations.endpoints.wishes import Wishes

DAY = 86_400
YEAR_MINUTES = 366 * 24 * 60
LIMITS, TIMES, ACCESS, REST = "Limits of one user", "Tries and times of a job", "Who may use it", "Webhooks and words"
WORKERS = "Workers"

Name = Annotated[
    str,
    typer.Argument(
        help="The endpoint's name, what stands behind /v2/ in its address: 1 to 40 small letters, digits and -."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Engine = Annotated[
    str | None,
    typer.Option(
        help="Our own workers (`openv worker`) make videos from worker-mochi's input; one engine so far: mochi. "
        "Default, unless --external.",
        rich_help_panel=WORKERS,
    ),
]
External = Annotated[
    bool,
    typer.Option(
        "--external",
        help="Containers built on RunPod's worker SDK run its jobs, instead of our own: any JSON in and out.",
        rich_help_panel=WORKERS,
    ),
]
Pool = Annotated[
    str | None,
    typer.Option(
        help="The queue that its jobs go to: that of our workers with this OPENV_POOL. Not with --external, which has "
        "a queue of its own. Default: mochi-1.",
        rich_help_panel=WORKERS,
    ),
]
MaxActive = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=1_000_000,
        help="Jobs that one user may have waiting or running there; the next is answered 429, and with 0 every one. "
        "Default: 1000.",
        rich_help_panel=LIMITS,
    ),
]
RateLimit = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1_000_000,
        help="Jobs that one user may submit there within --rate-window; the next is answered 429. Default: 1000.",
        rich_help_panel=LIMITS,
    ),
]
RateWindow = Annotated[
    int | None,
    typer.Option(
        min=1, max=DAY, help="The time that --rate-limit counts over, in seconds. Default: 10.", rich_help_panel=LIMITS
    ),
]
DeploymentLimits = Annotated[
    bool,
    typer.Option(
        "--deployment-limits",
        help="No limits of its own: the deployment's (OPENV_MAX_ACTIVE, OPENV_RATE_LIMIT) hold, counted together with "
        "all else that a user asks for. Takes the three options above back. Default for mochi-1 as it comes, alone.",
        rich_help_panel=LIMITS,
    ),
]
MaxRetries = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=100,
        help="How often a job is tried again after its worker was lost or an error that may pass. A handler that "
        "fails is not tried again. Default: 2.",
        rich_help_panel=TIMES,
    ),
]
ExecutionTimeout = Annotated[
    int | None,
    typer.Option(
        min=5,
        max=7 * DAY,
        help="How long one try may run, in seconds; then the job is TIMED_OUT. A request's policy.executionTimeout "
        "(ms) goes before. Default: 600.",
        rich_help_panel=TIMES,
    ),
]
Ttl = Annotated[
    int | None,
    typer.Option(
        min=10,
        max=7 * DAY,
        help="How long a job may take in all, in seconds from its submission, waiting and every try included; then "
        "it is TIMED_OUT. At least --execution-timeout makes sense. A request's policy.ttl (ms) goes before. "
        "Default: 86400, a day.",
        rich_help_panel=TIMES,
    ),
]
ResultMinutes = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=YEAR_MINUTES,
        help="How long the result of a job that has ended can be asked for, in minutes; then it is answered 404. "
        "Default: 30.",
        rich_help_panel=TIMES,
    ),
]
Users = Annotated[
    list[str] | None,
    typer.Option(
        "--user",
        help="The id of a user who may use it, several times for several; to others it does not exist. Replaces all "
        "who were named before. Default: everyone who has a key.",
        rich_help_panel=ACCESS,
    ),
]
Everyone = Annotated[
    bool,
    typer.Option("--everyone", help="Take --user back: everyone who has a key may use it.", rich_help_panel=ACCESS),
]
Signing = Annotated[
    str | None,
    typer.Option(
        "--webhook-secret",
        help="Sign completion webhooks as Standard Webhooks say: `generate` makes a secret and prints it once; or "
        "your own, whsec_ and base64 of at least 16 bytes. Replaces the one before. Default: not signed.",
        rich_help_panel=REST,
    ),
]
NoSigning = Annotated[
    bool,
    typer.Option(
        "--no-webhook-secret",
        help="Take --webhook-secret back: completion webhooks are sent unsigned.",
        rich_help_panel=REST,
    ),
]
Description = Annotated[
    str | None,
    typer.Option(
        help="What it is for, for people: a line of at most 500 characters. Default: none.", rich_help_panel=REST
    ),
]
NoDescription = Annotated[bool, typer.Option("--no-description", help="Take --description back.", rich_help_panel=REST)]


@dataclass(frozen=True, slots=True)
class Said:
    """What an endpoint can be told to have; what is not said has its default, or stays as it is."""

    engine: Engine = None
    external: External = False
    pool: Pool = None
    max_active: MaxActive = None
    rate_limit: RateLimit = None
    rate_window: RateWindow = None
    deployment_limits: DeploymentLimits = False
    max_retries: MaxRetries = None
    execution_timeout: ExecutionTimeout = None
    ttl: Ttl = None
    result_minutes: ResultMinutes = None
    user: Users = None
    webhook_secret: Signing = None
    description: Description = None

    def wishes(self, **taken: Any) -> "Wishes":
        """As wishes; ``taken``: what is to be taken away."""
        from operations.endpoints.wishes import Wishes

        return Wishes(
            engine=self.engine,
            external=self.external,
            pool=self.pool,
            max_active=self.max_active,
            rate_limit=self.rate_limit,
            rate_window_ms=_ms(self.rate_window),
            deployment_limits=self.deployment_limits,
            max_retries=self.max_retries,
            execution_timeout_ms=_ms(self.execution_timeout),
            ttl_ms=_ms(self.ttl),
            result_ms=_ms(self.result_minutes, 60_000),
            users=tuple(self.user or ()),
            signing=_signing(self.webhook_secret),
            description=self.description,
            **taken,
        )


def _ms(value: int | None, unit_ms: int = 1_000) -> int | None:
    return None if value is None else value * unit_ms


def _signing(asked: str | None) -> str | None:
    from operations.endpoints.wishes import GENERATE, SECRET_BYTES, signing_secret

    return signing_secret(secrets.token_bytes(SECRET_BYTES)) if asked == GENERATE else asked
