"""The root of the platform's exceptions: each one's text is a sentence that a person can act on."""


class SedaError(Exception):
    """What went wrong, where, and what to do, in one sentence; the CLI prints it and exits 1."""


class LostSecretError(SedaError):
    """A sealed secret that never opens again: what does not open just now is something else."""
