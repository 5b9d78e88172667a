"""Takes what may be personal or secret out of a text that is about to be logged.

The first line of defence is to log no such thing; this is the second, for texts of libraries.
"""

import re

_PERSONAL = re.compile(
    r"eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"  # a token
    r"|[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"  # an e-mail address
    r"|[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"  # a subject, or another id
    r"|(?<=://)[^/\s@]+@"  # a login in an address
    r"|(?<=cursor=)[^\s&\"']+"
    r"|(?i:(?<=bearer )\S+)"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b"  # an address of the network
)


def scrub(text: str) -> str:
    """The text with tokens, e-mail addresses, ids, logins, cursors and addresses blotted out."""
    return _PERSONAL.sub("[…]", text)
