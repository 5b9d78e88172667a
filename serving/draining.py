"""Whether the process is on its way out: readiness says so at once, responses part with clients."""


class Draining:
    """Begins at SIGTERM; for `seconds` more, requests are still taken (0: they are not).

    Meanwhile every response closes its connection, so that no client keeps one that is about to go.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun = False

    def begin(self) -> None:
        """From now on the process is not ready."""
        self.begun = True
