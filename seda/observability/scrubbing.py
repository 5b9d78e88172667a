"""Takes what may be personal or secret out of a text that is about to be logged.

The first line of defence is to log no such thing; this is the second, for texts of libraries.
"""

import re
from ipaddress import IPv6Address

_PERSONAL = re.compile(
    r"eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"  # a token
    r"|[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"  # an e-mail address
    r"|[\w.+-]+%40[\w-]+(?:\.[\w-]+)+"  # the same in a query
    r"|[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"  # a subject, or another id
    r"|(?<=://)[^/\s@]+@"  # a login in an address
    r"|(?<=cursor=)[^\s&\"']+"
    r"|(?i:(?<=bearer )\S+)"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b"  # an address of the network
    r"|(?<![\w-])[\w-]{43,}(?![\w-])"  # 256 bits in base64, or more: a provider's token, a state
)
# Names stay, so that a line still says what was asked for.
_QUERY = re.compile(r"([?&][\w.%\[\]-]+=)[^\s&\"'#]+")
_NAMED = re.compile(
    r"((?i:[\w-]*token|client_secret|code_verifier|password|api[_-]?key)[\"']?\s*[=:]\s*[\"']?)"
    r"[^\s\"'&,;]+"
)
_COLONS = re.compile(r"(?<![\w.:])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:])")


def scrub(text: str) -> str:
    """The text with tokens, e-mail addresses, ids, logins, cursors, values of queries and addresses
    blotted out."""
    named = _NAMED.sub(r"\1[…]", _QUERY.sub(r"\1[…]", text))
    return _COLONS.sub(_without_address, _PERSONAL.sub("[…]", named))


def _without_address(found: re.Match[str]) -> str:
    # A time of day has colons, too.
    try:
        IPv6Address(found[0])
    except ValueError:
        return found[0]
    return "[…]"
