"""A supervisor of toy children, run by path: `toy_supervisor.py HOME KIND`.

Prints the ids of all its descendants, one line, once they run.
"""

import os
import sys
import time
from pathlib import Path

import psutil
import typer

from seda.cli.processes import Service, Supervisor
from seda.cli.signals import StopRequested
from seda.errors import SedaError

OBEDIENT = "import time; time.sleep(600)"
# Does not end on SIGTERM, and has a child that left its session.
STUBBORN = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", {OBEDIENT!r}], start_new_session=True)
time.sleep(600)
"""
MORTAL = "print('first', flush=True); print('my last words', flush=True); raise SystemExit(3)"
KINDS = {"obedient": OBEDIENT, "stubborn": STUBBORN, "mortal": MORTAL}


def main(home: Path, kind: str) -> int:
    try:
        with Supervisor(home, grace_seconds=1.0) as supervisor:
            supervisor.start(service("first", OBEDIENT))
            supervisor.start(service("second", KINDS[kind]))
            time.sleep(0.7)
            family = psutil.Process().children(recursive=True)
            typer.echo(" ".join(str(process.pid) for process in family))
            supervisor.watch()
    except StopRequested:
        return 0
    except SedaError as problem:
        typer.echo(str(problem), err=True)
        return 1


def service(name: str, program: str) -> Service:
    return Service(name, f"The {name} child", (sys.executable, "-c", program), dict(os.environ))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
