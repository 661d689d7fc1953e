"""Ask a consumer for something on a machine's state, under several releases; the machine itself is never touched."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..consumers import Step, Trial
from ..machine import Snapshot
from ..machine.zones import snapshot_memory
from ..mm import release as find_release
from ..mm.errors import KernelBugError
from ..mm.memory import Memory

__all__ = ["TRIED_RELEASES", "Question", "Tried", "try_releases"]

#: Releases under which a request is tried unless told: before the seed, the seed, and what Linux made of it.
TRIED_RELEASES = ("5.15", "seed", "6.1", "6.12", "6.19")

#: What a step has for an errno where the kernel did not return.
EFAULT = 14

#: Asks for something: it may change the memory that it is given, which is a copy of its own.
Question = Callable[[Memory], Trial]


@dataclass(frozen=True, slots=True)
class Tried:
    """The answers of all releases. ``assumptions``: what the machine does not say and was assumed, one line each."""

    source: str
    kernel: str | None
    question: str
    page_size: int
    assumptions: tuple[str, ...]
    trials: tuple[Trial, ...]

    @property
    def answer(self) -> Trial:
        """That of the release asked about: the first."""
        return self.trials[0]


def named(trial: Trial, snapshot: Snapshot) -> Trial:
    """A trial whose refusals say who allocated the page in the way, where a page_owner dump tells. Such a page never moved."""
    if snapshot.owners is None:
        return trial
    steps: list[Step] = []
    for step in trial.steps:
        owner = snapshot.owners.of(step.pfn) if step.errno and step.pfn is not None else None
        note = "; ".join(filter(None, (step.note, f"the page was allocated by {owner}"))) if owner else step.note
        steps.append(replace(step, note=note))
    return replace(trial, steps=tuple(steps))


def try_releases(
    snapshot: Snapshot, releases: Sequence[str], question: str, ask: Question, assumptions: Sequence[str] = ()
) -> Tried:
    """Ask under each release, on a fresh memory each time. ``question``: the request in words."""
    for name in releases:
        find_release(name)
    trials: list[Trial] = []
    for name in releases:
        try:
            trials.append(named(ask(snapshot_memory(snapshot, name)), snapshot))
        except KernelBugError as bug:
            asked, unit = (trials[0].asked, trials[0].unit) if trials else (1, "requests")
            step = Step(bug.step, bug.pfn, 1, errno=EFAULT, pfn=bug.pfn, rule=bug.assertion)
            trials.append(Trial(name, asked, 0, unit, (), (step,), {}, f"the kernel stops with a BUG: {bug.assertion}"))
    return Tried(snapshot.source, snapshot.kernel, question, snapshot.page_size, tuple(assumptions), tuple(trials))
