"""Flags: on unless said otherwise, from a file or from a hosted provider."""

import json

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider.in_memory_provider import InMemoryProvider

from seda.experiments.flags import AUTOMATIC_ROLLBACK, CANARIES, Flags, FlagsError
from seda.settings import Settings


class InTheEu(InMemoryProvider):
    """Stands in for a hosted service: decides by region, and does not answer about canaries."""

    def __init__(self) -> None:
        super().__init__({})

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:  # fmt: skip
        if flag_key == CANARIES.name or evaluation_context is None:
            raise TimeoutError("no answer")
        return FlagResolutionDetails(evaluation_context.attributes["region"] == "eu")


def settings(home, flags: str | None = None) -> Settings:
    return Settings(_env_file=None, home=home, flags=flags)


def test_without_a_file_flags_are_what_they_are_by_default(tmp_path) -> None:
    flags = Flags(settings(tmp_path))
    assert flags.on(CANARIES, region="eu")
    assert flags.on(AUTOMATIC_ROLLBACK, region="global")


def test_the_file_in_the_home_switches_and_another_may_be_named(tmp_path) -> None:
    (tmp_path / "flags.json").write_text(json.dumps({"automatic-rollback": False}))
    flags = Flags(settings(tmp_path))
    assert not flags.on(AUTOMATIC_ROLLBACK, region="eu")
    assert flags.on(CANARIES, region="eu")
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"canaries": False}))
    assert not Flags(settings(tmp_path, str(other))).on(CANARIES, region="eu")


def test_a_hosted_provider_decides_and_is_not_waited_for(tmp_path) -> None:
    flags = Flags(settings(tmp_path, f"{__name__}:InTheEu"))
    assert flags.on(AUTOMATIC_ROLLBACK, region="eu")
    assert not flags.on(AUTOMATIC_ROLLBACK, region="global")
    assert flags.on(CANARIES, region="global")


@pytest.mark.parametrize("named", ["nowhere:Provider", "json:nothing", "json", "builtins:object"])
def test_what_is_no_provider_is_refused_with_a_sentence(tmp_path, named: str) -> None:
    with pytest.raises(FlagsError, match="SEDA_FLAGS"):
        Flags(settings(tmp_path, named))


@pytest.mark.parametrize("text", ["[", "[]", '{"canaries": "no"}', '{"canary": true}'])
def test_a_file_that_says_something_else_is_refused(tmp_path, text: str) -> None:
    (tmp_path / "flags.json").write_text(text)
    with pytest.raises(FlagsError, match=r"flags\.json"):
        Flags(settings(tmp_path))
