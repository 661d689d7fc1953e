"""Files that are there whole or not at all."""

import os
import tempfile
from pathlib import Path

from ..errors import InputError

__all__ = ["check_output", "write_whole"]


def check_output(path: Path, *, force: bool) -> None:
    """Raise InputError where a file cannot be written to ``path``: before the long work, not after it.

    ``force``: a regular file that is there may be replaced.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise InputError(f"{path}: no folder {path.parent}; make it, or choose another") from None
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{str(path)[:200]!r}: not a usable name ({what}); choose another") from error
    else:
        if not path.is_file():
            raise InputError(f"{path}: no regular file; name a file to write to")
        if not force:
            raise InputError(f"{path}: there already; choose another name, or --force to replace it")


def write_whole(path: Path, content: bytes) -> None:
    """Write under a temporary name beside ``path``, then rename; a link is followed. Readable as the umask allows.

    Raises:
        InputError: it cannot be written; nothing is left behind, and what was there is untouched.
    """
    temporary = ""
    try:
        target = path.resolve()
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
        temporary = ""
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; nothing was written, choose another place") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
