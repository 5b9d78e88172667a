"""Feature flags through OpenFeature: what is switched without a deployment.

The local provider reads a JSON file, flag → true or false; any other OpenFeature provider (of
LaunchDarkly, flagd, …) is named by `SEDA_FLAGS`. A provider that does not answer leaves each flag
at its default.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import FeatureProvider
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from seda.errors import SedaError
from seda.settings import Settings

_DOMAIN = "seda"


class FlagsError(SedaError):
    """`SEDA_FLAGS` names nothing that flags could come from."""


@dataclass(frozen=True)
class Flag:
    """A switch and what it is where nobody says."""

    name: str
    default: bool
    text: str


CANARIES: Final = Flag("canaries", True, "Rank and publish lists of a canary that runs.")
AUTOMATIC_ROLLBACK: Final = Flag(
    "automatic-rollback", True, "Roll a canary back when its gates ask for it."
)
FLAGS: Final = (CANARIES, AUTOMATIC_ROLLBACK)


class Flags:
    """Asks the configured provider; the region and the environment are what it may decide by."""

    def __init__(self, settings: Settings) -> None:
        api.set_provider(_provider(settings), _DOMAIN)
        self._client: OpenFeatureClient = api.get_client(_DOMAIN)
        self._env = settings.env

    def on(self, flag: Flag, *, region: str) -> bool:
        """Whether it is on in a region."""
        context = EvaluationContext(region, {"region": region, "env": self._env})
        return self._client.get_boolean_value(flag.name, flag.default, context)


def _provider(settings: Settings) -> FeatureProvider:
    """What `SEDA_FLAGS` names.

    Raises:
        FlagsError: it cannot be read, or names no provider.
    """
    named = settings.flags
    if named and not named.endswith(".json"):
        return _hosted(named)
    path = Path(named) if named else settings.home_directory() / "flags.json"
    if not named and not path.exists():
        return InMemoryProvider({})
    return InMemoryProvider({name: _local(on) for name, on in _read(path).items()})


def _local(on: bool) -> InMemoryFlag[bool]:
    return InMemoryFlag("on" if on else "off", {"on": True, "off": False})


def _read(path: Path) -> dict[str, bool]:
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as problem:
        raise FlagsError(f"The flags in {path} cannot be read ({problem}).") from problem
    known = {flag.name for flag in FLAGS}
    if not isinstance(found, dict) or not all(
        name in known and isinstance(on, bool) for name, on in found.items()
    ):
        raise FlagsError(
            f"{path} must be an object of flags that are true or false: {', '.join(sorted(known))}."
        )
    return found


def _hosted(named: str) -> FeatureProvider:
    module, _, factory = named.partition(":")
    try:
        made: FeatureProvider = getattr(importlib.import_module(module), factory)()
    except (ImportError, AttributeError, TypeError, ValueError) as problem:
        raise FlagsError(
            f"SEDA_FLAGS is {named!r}, which gives no provider ({problem}): write "
            "package.module:Provider, or the path of a .json file."
        ) from problem
    if not hasattr(made, "resolve_boolean_details"):
        raise FlagsError(f"SEDA_FLAGS is {named!r}, which is no OpenFeature provider.")
    return made
