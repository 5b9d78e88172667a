"""OpenAI's embeddings endpoint as it looks on the wire, which the EU runner speaks too."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seda.sandbox.mock_providers.profiles import Malformation, Outcome
from seda.sandbox.mock_providers.wire import (
    Question,
    RefusedRequestError,
    strings_in,
    tokens_of,
)

LARGEST_BATCH = 2048
LARGEST_REQUEST_TOKENS = 300_000
LARGEST_TEXT_TOKENS = 8192

_FAILURES = {
    Outcome.UNAUTHORISED: (
        401,
        "Incorrect API key provided. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        "invalid_request_error",
        "invalid_api_key",
    ),
    Outcome.RATE_LIMITED: (
        429,
        "Rate limit reached for text-embedding-3-small on requests per min (RPM). Please try again "
        "later.",
        "requests",
        "rate_limit_exceeded",
    ),
    Outcome.ERROR: (
        500,
        "The server had an error while processing your request. Sorry about that!",
        "server_error",
        None,
    ),
    Outcome.OUTAGE: (
        503,
        "The engine is currently overloaded, please try again later.",
        "server_error",
        None,
    ),
}


@dataclass(frozen=True, slots=True)
class OpenAIFormat:
    """An endpoint for `dims`: each model's full number of dimensions."""

    name: str
    prefix: str
    dims: Mapping[str, int]
    needs_key: bool = True

    @property
    def path(self) -> str:
        """Where texts are posted."""
        return f"{self.prefix}/v1/embeddings"

    def models(self) -> dict[str, Any]:
        """The list of models."""
        listed = [{"id": model, "object": "model", "owned_by": "system"} for model in self.dims]
        return {"object": "list", "data": listed}

    def sent_texts(self, document: object) -> tuple[str, ...]:
        """Every text in a request's JSON, whether or not it is taken."""
        given = document.get("input") if isinstance(document, dict) else None
        return strings_in(given)

    def read(self, document: object) -> Question:
        """The question; `input` is a string or a list of them."""
        if not isinstance(document, dict):
            raise _refused("We could not parse the JSON body of your request.")
        model = document.get("model")
        if not isinstance(model, str):
            raise _refused("you must provide a model parameter")
        if model not in self.dims:
            raise _refused(
                f"The model `{model}` does not exist or you do not have access to it.",
                code="model_not_found",
                status=404,
            )
        texts = _texts(document.get("input"))
        dim = document.get("dimensions", self.dims[model])
        if not isinstance(dim, int) or not 1 <= dim <= self.dims[model]:
            raise _refused(f"Invalid value for 'dimensions': {dim!r}.", param="dimensions")
        encoding = document.get("encoding_format", "float")
        if encoding not in ("float", "base64"):
            raise _refused(
                f"Invalid value: '{encoding}'. Supported values are: 'float' and 'base64'.",
                param="encoding_format",
                code="invalid_value",
            )
        return Question(texts, model, dim, encoding == "base64")

    def answer(
        self, question: Question, vectors: NDArray[np.float32], tokens: int, *, out_of_order: bool
    ) -> dict[str, Any]:
        """A list of embeddings, each with the index of its text."""
        rows = [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, question.base64)}
            for index, vector in enumerate(vectors)
        ]
        return {
            "object": "list",
            "data": rows[::-1] if out_of_order else rows,
            "model": question.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def spoil(self, document: dict[str, Any], kind: Malformation) -> bool:
        """Damage an answer in place."""
        if kind is Malformation.NO_USAGE:
            del document["usage"]
        elif kind is Malformation.REPEATED_INDEX:
            # One text cannot have another's index, so it gets one that no text has.
            document["data"][-1]["index"] = 0 if len(document["data"]) > 1 else 1
        elif kind is Malformation.GARBAGE:
            document["data"][-1]["embedding"] = "AAAAA"
        else:
            return False
        return True

    def failure(self, outcome: Outcome) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a failure."""
        status, message, kind, code = _FAILURES[outcome]
        return status, _error(message, kind, code=code)


def _texts(given: object) -> tuple[str, ...]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise _refused("'$.input' is invalid. Please check the API reference.", param="input")
    if "" in texts:
        raise _refused("Input cannot be an empty string.", param="input")
    if len(texts) > LARGEST_BATCH:
        raise _refused(
            f"Invalid 'input': array too long. Expected an array with maximum length "
            f"{LARGEST_BATCH}, but got an array with length {len(texts)} instead.",
            param="input",
            code="array_above_max_length",
        )
    longest = max(tokens_of((text,)) for text in texts)
    if longest > LARGEST_TEXT_TOKENS:
        raise _refused(
            f"This model's maximum context length is {LARGEST_TEXT_TOKENS} tokens, however you "
            f"requested {longest} tokens."
        )
    total = tokens_of(tuple(texts))
    if total > LARGEST_REQUEST_TOKENS:
        message = f"Requested {total} tokens, max {LARGEST_REQUEST_TOKENS} tokens per request"
        code = "max_tokens_per_request"
        raise RefusedRequestError(400, _error(message, code, code=code))
    return tuple(texts)


def _encoded(vector: NDArray[np.float32], as_base64: bool) -> str | list[float]:
    if as_base64:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    floats: list[float] = vector.tolist()
    return floats


def _refused(
    message: str, *, param: str | None = None, code: str | None = None, status: int = 400
) -> RefusedRequestError:
    return RefusedRequestError(status, _error(message, "invalid_request_error", param, code))


def _error(
    message: str, kind: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
