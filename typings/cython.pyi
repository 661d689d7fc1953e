# What mypy needs to know of Cython's pure-Python mode: C types read as their Python values.
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

_F = TypeVar("_F")
_T = TypeVar("_T")

compiled: bool
int: TypeAlias = int
uint: TypeAlias = int
uchar: TypeAlias = int
longlong: TypeAlias = int
ulonglong: TypeAlias = int
bint: TypeAlias = int
void: TypeAlias = None
p_uint: TypeAlias = Any
p_uchar: TypeAlias = Any
p_longlong: TypeAlias = Any
p_ulonglong: TypeAlias = Any

def cclass(c: _F) -> _F: ...
def cfunc(f: _F) -> _F: ...
def inline(f: _F) -> _F: ...
def exceptval(*a: object, check: bool = ...) -> Callable[[_F], _F]: ...
def cast(t: object, v: _T) -> _T: ...
def declare(t: object = ..., *, visibility: str = ...) -> Any: ...
def address(v: object) -> Any: ...

class _Nogil:
    def __call__(self, f: _F) -> _F: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *a: object) -> None: ...

nogil: _Nogil
gil: _Nogil
