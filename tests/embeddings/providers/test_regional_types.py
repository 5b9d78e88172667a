"""One region's texts and the other's provider do not go together: the type checker says so."""

import re
import subprocess
import sys
from pathlib import Path

from seda.settings import REPOSITORY

ASSIGNMENTS = """
from pydantic import SecretStr
from seda.embeddings.providers.cohere import CohereProvider
from seda.embeddings.providers.openai import OpenAIProvider
from seda.embeddings.providers.provider import Provider
from seda.embeddings.providers.runner import RunnerProvider
from seda.embeddings.regional_texts import EuTexts, GlobalTexts, RegionalTexts

openai: Provider[GlobalTexts] = OpenAIProvider(SecretStr("k"))
cohere: Provider[GlobalTexts] = CohereProvider(SecretStr("k"))
runner: Provider[EuTexts] = RunnerProvider("http://127.0.0.1", "m", 1, "1")

async def embed(either: RegionalTexts) -> None:
    await openai.embed(GlobalTexts(("a",)))
    await cohere.embed(GlobalTexts(("a",)))
    await runner.embed(EuTexts(("a",)))
    await openai.embed(EuTexts(("a",)))  # wrong
    await cohere.embed(EuTexts(("a",)))  # wrong
    await runner.embed(GlobalTexts(("a",)))  # wrong
    await OpenAIProvider(SecretStr("k")).embed(EuTexts(("a",)))  # wrong
    await openai.embed(either)  # wrong
    await runner.embed(either)  # wrong

eu: Provider[EuTexts] = OpenAIProvider(SecretStr("k"))  # wrong
world: Provider[GlobalTexts] = RunnerProvider("http://127.0.0.1", "m", 1, "1")  # wrong
"""
# Third parties are not what is checked, and reading them would take ten times as long.
CONFIGURATION = """
[mypy]
follow_imports = silent
[mypy-openai.*,cohere.*,pydantic.*,numpy.*,scipy.*,sqlalchemy.*]
follow_imports = skip
follow_imports_for_stubs = True
"""


def test_every_mismatch_is_a_type_error_and_every_match_is_none(tmp_path: Path) -> None:
    program, configuration = tmp_path / "program.py", tmp_path / "mypy.ini"
    program.write_text(ASSIGNMENTS)
    configuration.write_text(CONFIGURATION)
    options = ["--config-file", str(configuration), "--cache-dir", str(tmp_path / "cache")]

    answer = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--no-color-output", str(program)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    refused = {int(line) for line in re.findall(r"program\.py:(\d+): error", answer.stdout)}
    lines = enumerate(ASSIGNMENTS.splitlines(), start=1)
    assert refused == {number for number, line in lines if "# wrong" in line}, answer
