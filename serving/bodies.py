"""What bodies are made of: members that we do not know are refused, and so is text that a database
cannot store (NUL; lone surrogates are refused by pydantic itself)."""

from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints


class Body(BaseModel):
    """A request's body; unknown members are refused, so that a typo is not silently nothing."""

    model_config = ConfigDict(extra="forbid")


# Persian names and many emoji are joined, or kept apart, by characters that have no shape.
_WITHOUT_JOINERS = str.maketrans("", "", "\u200c\u200d")


def _printable(text: str) -> str:
    if not text.translate(_WITHOUT_JOINERS).isprintable() or not text.strip("\u200c\u200d"):
        raise ValueError("has characters that cannot be printed")
    return text


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("is no IANA time zone, such as Europe/Lisbon")
    return name


def _text(value: object) -> object:
    # pydantic would read a number as a time since 1970.
    if not isinstance(value, str):
        raise ValueError("is not text")
    return value


AsText = BeforeValidator(_text)
Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=80),
    AfterValidator(_printable),
]
TimeZone = Annotated[
    str, StringConstraints(min_length=1, max_length=64), AfterValidator(_known_zone)
]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
