"""Who needs contiguous memory, and how each asks for it: the kernel's steps, retries, errors and alignment rules.

A consumer works on a ``Zone`` or a ``Memory`` of the model and changes it, as the kernel would. What it did is a ``Trial``.
"""

from .trial import Step, Trial, given, refused

__all__ = ["Step", "Trial", "given", "refused"]
