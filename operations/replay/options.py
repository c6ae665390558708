"""The options of ``openv replay``: what they are called, and what they say of themselves."""

from typing import Annotated

import typer

Source = Annotated[str, typer.Argument(help="A topic (commands is openv.commands), file:PATH, or r-… of a dry run.")]
Into = Annotated[
    str | None,
    typer.Option(help="A topic, file:PATH, or origin: of dead letters, each back to the topic it came from."),
]
Since = Annotated[
    str | None, typer.Option("--from", "--since", help="Recorded since then: 2026-11-21T09:00Z, or 90m, 3d ago.")
]
Until = Annotated[str | None, typer.Option("--to", "--until", help="Recorded before.")]
FromOffset = Annotated[int | None, typer.Option(min=0, help="From this offset of the one --partition.")]
ToOffset = Annotated[int | None, typer.Option(min=0, help="Up to before this offset of the one --partition.")]
Partitions = Annotated[list[int] | None, typer.Option(min=0, help="Only these partitions.")]
Keys = Annotated[list[str] | None, typer.Option(help="Only records with these keys.")]
Users = Annotated[list[str] | None, typer.Option(help="Only of these users.")]
Jobs = Annotated[list[str] | None, typer.Option(help="Only about these jobs.")]
Types = Annotated[
    list[str] | None, typer.Option("--type", help="Only of these types; a part suffices, * and ? as in file names.")
]
Headers = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only with these headers.")]
Where = Annotated[
    list[str] | None, typer.Option(metavar="JMESPATH", help="Only where this is true of the value: userId == 'ann'.")
]
MaxReplays = Annotated[
    int, typer.Option(min=1, max=1_000, help="A record that was replayed so often goes to the quarantine.")
]
Rehearse = Annotated[
    bool, typer.Option("--rehearse/--no-rehearse", help="Say what would change, by deciding on a copy.")
]
Execute = Annotated[bool, typer.Option("--execute", help="Write what the dry run of exactly this found.")]
GoOn = Annotated[bool, typer.Option("--continue", help="Go on with one that waits, or was interrupted.")]
Rate = Annotated[float | None, typer.Option(min=0.01, help="At most so many records a second.")]
Canary = Annotated[int | None, typer.Option(min=1, help="Stop after so many, to look what they do.")]
MaxErrors = Annotated[
    int, typer.Option(min=0, help="Stop when more of them came back as dead letters than the dry run said.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; how far it is, each second, goes to stderr.")]
ReplayId = Annotated[str, typer.Argument(help="Which one, as the dry run named it: r-…")]
