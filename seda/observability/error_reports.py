"""Error reports to Sentry, where `SENTRY_DSN` is set: what went wrong and where, of nobody.

What an event may hold is a list, and everything else is dropped: libraries add to it in every
version, and a list of what to take out would be late. Texts are scrubbed as logs are.
"""

from typing import Any, Final

from seda.observability.scrubbing import scrub

_EVENT: Final = frozenset(
    {"event_id", "timestamp", "level", "logger", "platform", "release", "environment", "exception",
     "message", "logentry", "sdk", "type"}
)  # fmt: skip
_FRAME: Final = frozenset({"filename", "function", "module", "lineno", "in_app"})


def configure_error_reports(dsn: str, environment: str) -> None:
    """Report this process's errors, unhandled or logged as such, from now on."""
    import sentry_sdk

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        auto_enabling_integrations=False,
        before_send=scrubbed_event,
        before_breadcrumb=lambda *_: None,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        traces_sample_rate=None,
        auto_session_tracking=False,
        server_name="seda",
    )


def scrubbed_event(event: Any, hint: Any = None) -> Any:
    """The event with what is listed above only. An exception is told by its type and its frames;
    its message may quote a person's value, and is left out, as in the logs."""
    kept = {name: value for name, value in event.items() if name in _EVENT}
    for name in ("message", "logentry"):
        if name in kept:
            kept[name] = _scrubbed(kept[name])
    if isinstance(kept.get("logentry"), dict):
        kept["logentry"].pop("params", None)
        kept["logentry"].pop("formatted", None)
    values = (kept.get("exception") or {}).get("values") or []
    if values:
        kept["exception"] = {"values": [_exception(each) for each in values]}
    return kept


def _exception(told: dict[str, Any]) -> dict[str, Any]:
    frames = (told.get("stacktrace") or {}).get("frames") or []
    return {
        "type": told.get("type"),
        "module": told.get("module"),
        "value": "[…]",
        "stacktrace": {
            "frames": [{n: v for n, v in frame.items() if n in _FRAME} for frame in frames]
        },
    }


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {name: _scrubbed(each) for name, each in value.items()}
    return [_scrubbed(each) for each in value] if isinstance(value, list | tuple) else value
