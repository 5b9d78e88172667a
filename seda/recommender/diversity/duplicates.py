"""Items that a person would call the same: one title in two spellings, one track in two issues.

Pure functions of titles, clusters and artists. Comparison happens only within blocks of equal
normalised words, so the cost grows with the catalogue and not with its square.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from seda.recommender.arrays import IntArray

SIMILAR = 0.85
"""Least share of common letter pairs (Dice 1945) of two titles that are the same."""
LARGEST_BLOCK = 64
"""Titles of a block that are compared with each other; more of one artist and cluster that share
their first word are left to exact equality."""

_VERSION = (
    r"remaster(?:ed)?|re-?issue|deluxe|expanded|anniversary|bonus|edition|version|explicit|clean|"
    r"mono|stereo|radio edit|single edit|album|feat\.?|ft\.?|featuring"
)
_BRACKETED = re.compile(rf"[(\[{{][^)\]}}]*\b(?:{_VERSION})[^)\]}}]*[)\]}}]", re.IGNORECASE)
_TRAILING = re.compile(rf"\s[-–—/]\s[^-–—/]*\b(?:{_VERSION})\b.*$", re.IGNORECASE)
_GUEST = re.compile(r"\s(?:feat\.?|ft\.?|featuring)\s.+$", re.IGNORECASE)
_NOT_A_WORD = re.compile(r"[^\w]+|_")


def normalised_title(title: str) -> str:
    """The title without case, accents, punctuation, guests and remarks on its issue.

    "Héroes (Remastered 2011) feat. Bowie" becomes "heroes". A title of which nothing would be left
    keeps its own characters, folded.
    """
    shorter = _GUEST.sub("", _TRAILING.sub("", _BRACKETED.sub("", title)))
    for text in (shorter, title):
        letters = unicodedata.normalize("NFKD", text.replace("&", " and ").casefold())
        plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
        words = _NOT_A_WORD.sub(" ", plain).split()
        if words[:1] == ["the"] and len(words) > 1:
            words = words[1:]
        if words:
            return " ".join(words)
    return title.casefold().strip()


def duplicate_groups(
    titles: Sequence[str],
    *,
    clusters: IntArray | None = None,
    makers: IntArray | None = None,
) -> IntArray:
    """Groups of near-duplicates: int32 `(items,)`, -1 for an item that has none.

    Two items are the same when their normalised titles are equal or nearly so and they have the
    same maker (artist or owner); where that is unknown, when they are in the same cluster.
    `clusters` and `makers` int32 `(items,)`, -1 for unknown. Groups are the connected components,
    numbered by their first item.
    """
    count = len(titles)
    clusters = np.full(count, -1, np.int32) if clusters is None else clusters
    makers = np.full(count, -1, np.int32) if makers is None else makers
    blocks: dict[tuple[int, int, str], dict[str, list[int]]] = defaultdict(dict)
    for item, title in enumerate(titles):
        words = normalised_title(title)
        if words:
            maker = int(makers[item])
            cluster = -1 if maker >= 0 else int(clusters[item])
            block = blocks[maker, cluster, words.partition(" ")[0]]
            block.setdefault(words, []).append(item)
    parents = np.arange(count)
    for spellings in blocks.values():
        for same in spellings.values():
            parents[same] = same[0]
        _join_similar(spellings, parents)
    return _numbered(parents)


def _join_similar(spellings: dict[str, list[int]], parents: np.ndarray) -> None:
    if not 1 < len(spellings) <= LARGEST_BLOCK:
        return
    texts = list(spellings)
    pairs = [_letter_pairs(text) for text in texts]
    for left in range(len(texts)):
        for right in range(left + 1, len(texts)):
            if _digits(texts[left]) == _digits(texts[right]) and (
                _dice(pairs[left], pairs[right]) >= SIMILAR
            ):
                _union(parents, spellings[texts[left]][0], spellings[texts[right]][0])


def _letter_pairs(text: str) -> set[str]:
    padded = f" {text} "
    return {padded[start : start + 2] for start in range(len(padded) - 1)}


def _dice(left: set[str], right: set[str]) -> float:
    return 2 * len(left & right) / (len(left) + len(right))


def _digits(text: str) -> list[str]:
    """Numbers must agree: volume 1 is not volume 2."""
    return [word for word in text.split() if any(letter.isdigit() for letter in word)]


def _root(parents: np.ndarray, item: int) -> int:
    while parents[item] != item:
        item = int(parents[item])
    return item


def _union(parents: np.ndarray, left: int, right: int) -> None:
    first, second = sorted((_root(parents, left), _root(parents, right)))
    parents[second] = first


def _numbered(parents: np.ndarray) -> IntArray:
    roots = np.array([_root(parents, item) for item in range(len(parents))], np.int64)
    sizes = np.bincount(roots, minlength=len(parents))
    repeated = np.flatnonzero(sizes > 1)
    numbers = np.full(len(parents), -1, np.int32)
    numbers[repeated] = np.arange(repeated.size, dtype=np.int32)
    return numbers[roots] if len(parents) else numbers
