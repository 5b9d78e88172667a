"""The commands that run services: `demo` and `up`."""

from typing import Annotated

import typer

from seda.cli.options import Profile


def demo(
    once: Annotated[bool, typer.Option("--once", help="Print the feed, stop and exit.")] = False,
    profile: Annotated[
        Profile, typer.Option(help="The sandbox that empty databases are seeded with.")
    ] = Profile.SMOKE,
) -> None:
    """Start everything and print one person's feed.

    Databases, migrations, sandbox, graph, services; what is there from an earlier demo is used
    again. Stays up until Ctrl-C.
    """
    from seda.cli.demo import run_demo

    run_demo(profile.value, once=once)


def up() -> None:
    """Start the services on what is in the databases.

    The API, the real-time service, the notifier and Dagster; they stay up until Ctrl-C.
    """
    from seda.cli.demo import run_services

    run_services()
