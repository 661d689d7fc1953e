"""The recorder: boots a real Debian kernel in QEMU and records what its page allocator does.

``python -m oracle --kernel 6.1`` is the whole of it; docs/oracle.md tells the rest.
"""
