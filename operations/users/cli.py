"""The ``openv users`` commands; the work is in ``acts.py`` and ``listing.py``."""

from typing import Annotated

import typer
from rich.console import Console

from operations.running import DEFAULT_DATA_DIR, DataDirOption, require_agreement, run

users_app = typer.Typer(
    help="Users: list, show, set role and limits, block, grant credits, delete. Exit code 3: not decided yet.",
    no_args_is_help=True,
)
User = Annotated[str, typer.Argument(help="The user id.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@users_app.command("list")
def listed(
    role: Annotated[str | None, typer.Option(help="Those with this role.")] = None,
    blocked: Annotated[bool | None, typer.Option("--blocked/--not-blocked", help="Those that are, or are not.")] = None,
    deleted: Annotated[bool | None, typer.Option("--deleted/--not-deleted", help="Those that are, or are not.")] = None,
    usage: Annotated[
        bool, typer.Option("--usage", help="Ask the ledger where each stands; the heaviest of the page first.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Users a page.")] = 50,
    after: Annotated[str | None, typer.Option(help="The next page: what the page before ended with.")] = None,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List users that have an account (who ever submitted a video, or was changed), by id.

    Example: `openv users list --blocked --usage`
    """
    from operations.users.commands import list_users as work

    given = {"blocked": blocked, "deleted": deleted}
    run(work(data_dir, role, limit, after, Console(), usage=usage, as_json=as_json, **given))


@users_app.command("show")
def show(user: User, as_json: AsJson = False, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Show what is known of a user, and where they stand: usage, limits, credits, jobs, keys.

    Example: `openv users show alice`
    """
    from operations.users.commands import show as work

    run(work(data_dir, user, Console(), as_json=as_json))


@users_app.command("role")
def role(
    user: User,
    role: Annotated[str, typer.Argument(help="restricted, user or admin.")],
    reason: Reason = "",
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Set a user's role. A deleted user is let back in by it.

    Example: `openv users role alice admin`
    """
    from operations.users.acts import require_role
    from operations.users.acts import set_role as work
    from operations.users.commands import change

    run(change(data_dir, user, lambda desk, actor: work(desk, actor, user, role, reason), lambda: require_role(role)))


@users_app.command("limit")
def limit(
    user: User,
    seconds: Annotated[float | None, typer.Option(min=0, help="Seconds of video in a period.")] = None,
    max_active: Annotated[int | None, typer.Option(min=0, help="Videos that may be under way at a time.")] = None,
    rate: Annotated[int | None, typer.Option(min=1, help="Requests in a rate window.")] = None,
    rate_window: Annotated[float | None, typer.Option(min=0.001, help="The rate window, in seconds.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Back to the deployment's limits, all of them.")] = False,
    reason: Reason = "",
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Set a user's own limits; those not named stay as they are.

    Example: `openv users limit alice --seconds 1200 --max-active 5`
    """
    from operations.users.acts import Limits, overrides_of
    from operations.users.acts import limit as work
    from operations.users.commands import change

    limits = Limits(seconds, max_active, rate, rate_window, clear)
    run(
        change(
            data_dir, user, lambda desk, actor: work(desk, actor, user, limits, reason), lambda: overrides_of(limits)
        )
    )


@users_app.command("block")
def block(
    user: User,
    reason: Annotated[str, typer.Option(help="Why; kept in the log of commands.")] = "",
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Ban a user: no more videos; what runs goes on (`openv jobs cancel --user alice --execute` ends it).

    Example: `openv users block alice --reason "unpaid since May"`
    """
    from operations.users.acts import set_blocked as work
    from operations.users.commands import change

    run(change(data_dir, user, lambda desk, actor: work(desk, actor, user, reason, blocked=True)))


@users_app.command("unblock")
def unblock(
    user: User,
    reason: Annotated[str, typer.Option(help="Why; kept in the log of commands.")] = "",
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Let a blocked user make videos again.

    Example: `openv users unblock alice`
    """
    from operations.users.acts import set_blocked as work
    from operations.users.commands import change

    run(change(data_dir, user, lambda desk, actor: work(desk, actor, user, reason, blocked=False)))


@users_app.command("credits")
def grant_credits(
    user: User,
    grant: Annotated[float, typer.Option(help="How many; negative ones are taken away.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the grant.")] = "",
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="For how many days they are good; for ever by default.")
    ] = None,
    grant_id: Annotated[
        str | None, typer.Option("--id", help="Counts once: to repeat a grant safely, repeat its id.")
    ] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Give a user credits, or take some.

    Example: `openv users credits alice --grant 50 --reason "order 1047" --id order-1047`
    """
    from operations.users.commands import grant as work

    run(work(data_dir, user, grant, reason, expires_days, grant_id))


@users_app.command("delete")
def delete(
    user: User,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Reason = "",
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Delete a user: videos, files, keys, credits and personal data.

    Example: `openv users delete alice --yes`
    """
    from operations.users.acts import delete as work
    from operations.users.commands import change

    if not yes:
        require_agreement(f"Delete {user} with all videos, files and keys? This can't be undone.")
    run(change(data_dir, user, lambda desk, actor: work(desk, actor, user, reason)))


@users_app.command("reset")
def reset(
    user: User,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Reason = "",
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Let a user begin anew whose account document is damaged, and can't be mended by `openv rebuild`.

    Shows what can be read of it, asks, and deletes that document alone. Videos, files and keys stay, and usage is
    counted from the videos; role, limits and credits have to be set again.

    Example: `openv users reset alice`
    """
    from operations.users.commands import reset as work

    run(work(data_dir, user, reason, Console(), yes=yes))
