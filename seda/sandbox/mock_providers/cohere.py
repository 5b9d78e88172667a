"""Cohere's second embeddings endpoint as it looks on the wire."""

import base64
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from numpy.typing import NDArray

from seda.sandbox.mock_providers.profiles import Malformation, Outcome
from seda.sandbox.mock_providers.wire import Question, RefusedRequestError, strings_in

LARGEST_BATCH = 96
MODEL = "embed-v4.0"
DIMS = (256, 512, 1024, 1536)
INPUT_TYPES = ("search_document", "search_query", "classification", "clustering")

_FAILURES = {
    Outcome.UNAUTHORISED: (401, "invalid api token"),
    Outcome.RATE_LIMITED: (
        429,
        "You are past the per minute request limit, please wait and try again later.",
    ),
    Outcome.ERROR: (500, "internal server error"),
    Outcome.OUTAGE: (503, "the service is currently unavailable, please try again later"),
}


class CohereFormat:
    """The endpoint of `embed-v4.0`."""

    name = "cohere"
    path = "/cohere/v2/embed"
    needs_key = True

    def sent_texts(self, document: object) -> tuple[str, ...]:
        """Every text in a request's JSON, whether or not it is taken."""
        given = document.get("texts") if isinstance(document, dict) else None
        return strings_in(given)

    def read(self, document: object) -> Question:
        """The question; exactly one embedding type, `float` or `base64`, is understood."""
        if not isinstance(document, dict):
            raise _refused("invalid request: body is not valid JSON")
        if document.get("model") != MODEL:
            message = (
                f"model '{document.get('model')}' not found, make sure the correct model ID was "
                "used and that you have access to the model."
            )
            raise RefusedRequestError(404, {"message": message})
        texts = document.get("texts")
        if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
            raise _refused("invalid request: valid texts must be provided")
        if len(texts) > LARGEST_BATCH:
            raise _refused(
                f"invalid request: total number of texts must be at most {LARGEST_BATCH} - "
                f"received {len(texts)}"
            )
        if document.get("input_type") not in INPUT_TYPES:
            raise _refused(f"invalid request: input_type must be one of {', '.join(INPUT_TYPES)}")
        dim = document.get("output_dimension", max(DIMS))
        if dim not in DIMS:
            raise _refused(f"invalid request: output_dimension must be one of {list(DIMS)}")
        types = document.get("embedding_types", ["float"])
        if types not in (["float"], ["base64"]):
            raise _refused("invalid request: embedding_types must be float or base64")
        return Question(tuple(texts), MODEL, dim, types == ["base64"])

    def answer(
        self, question: Question, vectors: NDArray[np.float32], tokens: int, *, out_of_order: bool
    ) -> dict[str, Any]:
        """Embeddings by type; without an index, so that their order is always that of the texts."""
        embeddings: dict[str, list[Any]]
        if question.base64:
            raw = [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
            embeddings = {"base64": raw}
        else:
            embeddings = {"float": vectors.tolist()}
        return {
            "id": str(uuid5(NAMESPACE_URL, "\n".join(question.texts))),
            "response_type": "embeddings_by_type",
            "embeddings": embeddings,
            "texts": list(question.texts),
            "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": tokens}},
        }

    def spoil(self, document: dict[str, Any], kind: Malformation) -> bool:
        """Damage an answer in place."""
        if kind is Malformation.NO_USAGE:
            del document["meta"]["billed_units"]
        elif kind is Malformation.GARBAGE:
            (rows,) = document["embeddings"].values()
            rows[-1] = ["no", "vector"]
        else:
            return False
        return True

    def failure(self, outcome: Outcome) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a failure."""
        status, message = _FAILURES[outcome]
        return status, {"message": message}


def _refused(message: str) -> RefusedRequestError:
    return RefusedRequestError(400, {"message": message})
