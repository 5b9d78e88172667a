"""`make` on a bare checkout: finds a Python that works, installs once, repairs what broke off."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from seda.settings import REPOSITORY
from tests.cli.cli_runs import Answer, clean_environment

MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")
TOOLS = ("sh", "env", "cat", "rm", "sed", "mkdir", "cp", "chmod", "dirname", "bash")
STAMP = ".venv/.installed"

# Stands in for an interpreter: "suitable", makes environments of itself, and writes down its calls.
PYTHON = """#!/bin/sh
echo "$*" >>{log}
case "$*" in
    *-m\\ venv*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *-m\\ pip*) [ ! -e {broken} ] ;;
    *pytest*) env ;;
esac
"""


class Checkout:
    """A bare checkout with a PATH that holds the tools of any system, and chosen Pythons."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.bin = folder / "bin"
        self.log = folder / "calls"
        self.broken = folder / "broken"
        for place in (self.folder, self.bin):
            place.mkdir()
        for name in ("Makefile", "requirements.lock", "pyproject.toml", ".ci/run"):
            (self.folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(REPOSITORY / name, self.folder / name)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)

    def add(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(script)
        path.chmod(0o755)

    def add_python(self, name: str = "python3.11") -> None:
        self.add(name, PYTHON.format(log=self.log, broken=self.broken))

    def make(self, *arguments: str, **settings: object) -> Answer:
        assert MAKE
        return subprocess.run(
            [MAKE, *arguments],
            cwd=self.folder,
            env=clean_environment(PATH=self.bin, **settings),
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.mark.parametrize("target", ["demo", "test", "lint"])
def test_a_missing_python_is_one_sentence(checkout: Checkout, target: str) -> None:
    answer = checkout.make(target)

    said, noise = answer.stderr.splitlines()
    assert answer.returncode != 0
    assert said == (
        "Python 3.11, 3.12 or 3.13 (with its venv module) was not found as python3.11 python3.12 "
        "python3.13 python3: install it, or say where it is with PYTHON=/path/to/python."
    )
    assert noise.startswith("make: ***")
    assert not answer.stdout


def test_a_shim_that_exists_and_fails_is_passed_over(checkout: Checkout) -> None:
    checkout.add("python3.11", "#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    checkout.add("python3.12", "#!/bin/sh\nexit 1\n")
    checkout.add_python("python3")

    answer = checkout.make(STAMP)

    assert answer.returncode == 0, answer.stderr
    assert "with python3;" in answer.stdout
    assert "not found" not in answer.stderr


def test_another_python_may_be_named(checkout: Checkout) -> None:
    checkout.add_python("snake")

    assert "with snake;" in checkout.make(STAMP, "PYTHON=snake").stdout
    assert checkout.make(STAMP, "PYTHON=nothing", "-B").returncode != 0


def test_requirements_are_installed_by_hash_and_once(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make(STAMP)
    first = checkout.calls()
    checkout.make(STAMP)
    second = checkout.calls()

    assert any("--require-hashes -r requirements.lock" in call for call in first)
    assert any("--no-deps --no-build-isolation -e ." in call for call in first)
    assert not any("pip" in call or "venv" in call for call in second)


def test_a_changed_lock_is_installed_into_the_same_environment(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make(STAMP)
    checkout.calls()
    later = (checkout.folder / STAMP).stat().st_mtime + 5
    os.utime(checkout.folder / "requirements.lock", (later, later))

    checkout.make(STAMP)

    calls = checkout.calls()
    assert any("requirements.lock" in call for call in calls)
    assert not any("-m venv" in call for call in calls)


def test_an_interrupted_install_starts_again_from_nothing(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.broken.touch()
    assert checkout.make(STAMP).returncode != 0
    checkout.broken.unlink()
    (checkout.folder / ".venv" / "half-written").touch()
    checkout.calls()

    assert checkout.make(STAMP).returncode == 0
    assert any("-m venv" in call for call in checkout.calls())
    assert not (checkout.folder / ".venv" / "half-written").exists()


def test_a_moved_checkout_gets_a_new_environment(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make(STAMP)
    checkout.calls()
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("elsewhere"))

    checkout.make(STAMP)

    assert any("-m venv" in call for call in checkout.calls())


def test_the_tests_do_not_see_the_settings_of_the_shell(checkout: Checkout) -> None:
    checkout.add_python()

    answer = checkout.make(
        "test",
        "ARGS=-k some",
        SEDA_DATABASE_URL="postgresql://elsewhere/x",
        DAGSTER_HOME="/elsewhere",
        PGHOST="elsewhere",
        OTHER="stays",
    )

    assert "OTHER=stays" in answer.stdout
    for name in ("SEDA_DATABASE_URL", "DAGSTER_HOME", "PGHOST"):
        assert f"{name}=" not in answer.stdout
    assert any(call.endswith("-m pytest -n 2 --dist loadfile -k some") for call in checkout.calls())


def test_continuous_integration_lints_and_tests_wherever_it_starts(checkout: Checkout) -> None:
    checkout.add("make", f'#!/bin/sh\necho "$*" in "$PWD" >>{checkout.log}\n')

    subprocess.run(
        [checkout.folder / ".ci" / "run"], env={"PATH": str(checkout.bin)}, cwd="/", check=True
    )

    assert checkout.calls() == [f"lint in {checkout.folder}", f"test in {checkout.folder}"]
