"""The page on which a made-up listener says yes or no."""

from collections.abc import Mapping
from html import escape
from urllib.parse import urlencode, urlsplit, urlunsplit

from seda.sandbox.mock_providers.listeners import LISTENERS

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{provider}: consent</title>
<style>body{{font:16px/1.5 system-ui;max-width:32rem;margin:4rem auto;padding:0 1rem}}
button{{padding:.5rem 1.2rem;margin-right:.5rem}}</style></head>
<body><h1>{provider} (a stand-in)</h1>
<p><b>{client}</b> would like to: {scope}</p>
<form method="post">{hidden}
<p><label>Sign in as <select name="listener">{options}</select></label></p>
<p><button name="decision" value="allow">Agree</button>
<button name="decision" value="deny">Cancel</button></p></form></body></html>"""


def consent_page(provider: str, query: Mapping[str, str]) -> str:
    """The page; everything from outside is escaped."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in query.items()
    )
    options = "".join(f"<option>{escape(name)}</option>" for name in LISTENERS)
    return _PAGE.format(
        provider=escape(provider),
        client=escape(query.get("client_id", "")),
        scope=escape(query.get("scope", "")),
        hidden=hidden,
        options=options,
    )


def back_to(redirect_uri: str, **members: str) -> str:
    """The address to which the person is sent back."""
    parts = urlsplit(redirect_uri)
    query = "&".join(filter(None, (parts.query, urlencode(members))))
    return urlunsplit(parts._replace(query=query))
