"""What several ``openv jobs`` commands can be told: which jobs, and what is to come of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from operations.core.job_acts import Verb
from operations.stack.errors import StackError

if TYPE_CHECKING:
    from operations.jobs.commands import Wish
    from operations.jobs.listing import Sought

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which jobs; what is not said does not matter."""

    user: Annotated[str | None, typer.Option(help="Jobs of this user.")] = None
    state: Annotated[list[str] | None, typer.Option(help="Jobs in this state; may be given several times.")] = None
    pool: Annotated[str | None, typer.Option(help="Jobs of this pool.")] = None
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="Jobs of this serverless endpoint.")] = None
    code: Annotated[str | None, typer.Option(help="Jobs that failed with this code.")] = None
    since: Annotated[str | None, typer.Option(help="Created since then: 30m, 2h, 7d, or 2026-11-22T09:00:00Z.")] = None

    def sought(self) -> "Sought":
        """Raises ``typer.BadParameter`` for what makes no sense."""
        from operations.jobs.listing import sought_of
        from repo.clock import now_ms

        state = tuple(self.state or ())
        try:
            return sought_of(self.user, state, self.pool, self.endpoint, self.code, self.since, now_ms())
        except StackError as error:
            raise typer.BadParameter(str(error)) from None


@dataclass(frozen=True, slots=True)
class Acting:
    """How it is done to them. Those found by a filter, and those read from standard input, are only shown first."""

    most: Annotated[int, typer.Option("--most", min=1, max=100_000, help="Of those found, the newest so many.")] = 1_000
    execute: Annotated[bool, typer.Option("--execute", help="Do it to those found; else they are only shown.")] = False
    reason: Annotated[str, typer.Option(help="Why; kept in the audit and in the log of commands.")] = ""

    def wish(self, verb: Verb, job_ids: list[str] | None, filters: Filters, *, final: bool = False) -> "Wish":
        """Raises ``typer.BadParameter`` for what makes no sense."""
        from operations.jobs.acts import Asked
        from operations.jobs.commands import Wish

        asked = Asked(self.reason, final)
        return Wish(verb, tuple(job_ids or ()), filters.sought(), self.most, asked, self.execute)
