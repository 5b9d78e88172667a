"""What a card says about the friends who are in a room, and which faces it shows (SOC-4).

Who may be counted or named was decided before: these functions get visible friends and a count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

AVATARS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Face:
    """A visible friend as a card shows them; either part may be missing."""

    name: str | None
    avatar_url: str | None


@dataclass(frozen=True, slots=True)
class SocialBlock:
    """The social part of a card, in the field order of the feed's JSON."""

    text: str
    count: int
    avatars: tuple[Face, ...]
    overflow: int


NOBODY = SocialBlock("", 0, (), 0)


def presence_text(names: Sequence[str | None], count: int, room_name: str) -> str:
    """One sentence about `count` friends in a room, of whom `names` are the visible ones."""
    if count < 1:
        return ""
    if count == 1:
        name = names[0] if names else None
        return f"{name or 'A friend'} is here — join them"
    return f"{count} of your friends are in #{room_name.removeprefix('#')} right now"


def social_block(faces: Sequence[Face], count: int, room_name: str) -> SocialBlock:
    """The block for `count` friends, of whom `faces` may be shown, first comers first.

    At most four faces are shown; `overflow` is everybody else who is counted.
    """
    if count < 1:
        return NOBODY
    shown = tuple(faces[:AVATARS_SHOWN])
    names = [face.name for face in shown]
    return SocialBlock(presence_text(names, count, room_name), count, shown, count - len(shown))
