"""The exceptions of the recorder. Each message is one line: what was wrong and what to do next."""

__all__ = ["GuestError", "MissingError", "OracleError", "PackageError", "UsageError", "VerifyError"]


class OracleError(Exception):
    """Base of all: the command prints the message and exits 2."""


class UsageError(OracleError):
    """An argument that does not make sense."""


class MissingError(OracleError):
    """A program that is not on this machine."""


class PackageError(OracleError):
    """Debian's archive does not have it, or it cannot be fetched or unpacked."""


class GuestError(OracleError):
    """The module does not build, or the virtual machine did not do what it was asked."""


class VerifyError(OracleError):
    """Two boots recorded different things."""
