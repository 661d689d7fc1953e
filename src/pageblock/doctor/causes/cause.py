"""What a cause is, how it judges, and the list of all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from .evidence import Evidence

__all__ = ["CAUSES", "Cause", "Certainty", "Commit", "Finding", "Judgement", "cause", "judge"]


class Certainty(Enum):
    """How sure a cause is, most sure first."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"
    RULED_OUT = "ruled out"

    @property
    def rank(self) -> int:
        """0 for certain, ascending."""
        return list(Certainty).index(self)


@dataclass(frozen=True, slots=True)
class Commit:
    """A kernel commit: what it did, in our words, and the first release with it."""

    hash: str
    what: str
    release: str


@dataclass(slots=True)
class Judgement:
    """What a cause says to the evidence: how sure, what speaks for and against it, and what would settle it.

    ``commits``: whether the cause's commits have to do with it.
    """

    certainty: Certainty
    speaks_for: list[str] = field(default_factory=list)
    against: list[str] = field(default_factory=list)
    settles: list[str] = field(default_factory=list)
    commits: bool = True


#: A judge returns None where the evidence has nothing to do with the cause.
Judge = Callable[[Evidence], Judgement | None]


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason for -16, -12 or a refusal.

    ``errno``: what the caller sees (16 EBUSY, 12 ENOMEM, 22 EINVAL, 4 EINTR), several where steps differ;
    ``transient``: whether it passes by itself; ``seen``: its signature, by source of data; ``source``: kernel file,
    function, release; ``surest``: how sure it can be at best.
    """

    name: str
    title: str
    errno: tuple[int, ...]
    transient: bool
    seen: dict[str, str]
    source: str
    remedies: tuple[str, ...]
    judge: Judge
    surest: Certainty
    commits: tuple[Commit, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause that has something to say, and what it says."""

    cause: Cause
    judgement: Judgement


#: Name -> cause, in the order of the docs.
CAUSES: dict[str, Cause] = {}


def cause(
    name: str,
    title: str,
    *,
    errno: Sequence[int],
    transient: bool,
    seen: dict[str, str],
    source: str,
    remedies: Sequence[str],
    commits: Sequence[Commit] = (),
    surest: Certainty = Certainty.CERTAIN,
) -> Callable[[Judge], Judge]:
    """Enter a judging function into the list of causes."""

    def enter(function: Judge) -> Judge:
        if name in CAUSES:
            raise ValueError(f"cause {name!r} is there already")
        CAUSES[name] = Cause(
            name, title, tuple(errno), transient, seen, source, tuple(remedies), function, surest, tuple(commits)
        )
        return function

    return enter


def judge(evidence: Evidence) -> list[Finding]:
    """All causes that have something to say, the surest first; equally sure ones by how much speaks for them."""
    found = [Finding(entry, judgement) for entry in CAUSES.values() if (judgement := entry.judge(evidence)) is not None]
    return sorted(
        found,
        key=lambda f: (f.judgement.certainty.rank, len(f.judgement.against) - len(f.judgement.speaks_for)),
    )
