"""The social block of a room's card, as JSON, from what the database lets a viewer see.

Who is counted and who is named is decided by `seda.friends_presence`; the words by `seda.social`.
"""

from typing import Any

import orjson

from seda.social.copy import NOBODY, Face, SocialBlock, social_block

NOBODY_JSON = orjson.dumps(NOBODY).decode()


def viewer_block(
    count: int | None, friends: str | list[dict[str, Any]] | None, room_name: str
) -> SocialBlock:
    """The block of one row of `seda.friends_presence`; nulls mean that nobody is there.

    `friends` as the database gives them, or already parsed.
    """
    if not count:
        return NOBODY
    each_friend = orjson.loads(friends) if isinstance(friends, str) else friends or ()
    faces = [Face(each["name"], each["avatar_url"]) for each in each_friend]
    return social_block(faces, count, room_name)


def room_block(count: int | None, friends: str | list[dict[str, Any]] | None, card: str) -> str:
    """The same as JSON; the stored card is parsed, for its name, only where friends are."""
    if not count:
        return NOBODY_JSON
    return orjson.dumps(viewer_block(count, friends, orjson.loads(card)["name"])).decode()
