"""Files that are there whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import InputError

__all__ = ["check_output", "whole_file"]


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
            raise _there_already(path)


def _there_already(path: Path) -> InputError:
    return InputError(f"{path}: there already; choose another name, or --force to replace it")


@contextmanager
def whole_file(path: Path, *, force: bool, private: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, under a temporary name beside ``path``, which it gets when the block ends well; a link is followed.

    ``private``: only the owner may read it; else whom the umask lets. Without ``force`` it never takes the place of a
    file that appeared meanwhile.

    Raises:
        InputError: it cannot be written; nothing is left behind, and what was there is untouched.
    """
    temporary = ""
    try:
        target = path.resolve()
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not private:
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
        _put_in_place(temporary, target, force)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; nothing was written, choose another place") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _put_in_place(temporary: str, target: Path, force: bool) -> None:
    if force:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise _there_already(target) from None
    except OSError:  # a file system without hard links
        os.rename(temporary, target)
