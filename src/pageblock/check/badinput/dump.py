"""Kernel dumps: files that begin as one does. What is behind is drgn's to read, where drgn is installed; what it says is ours."""

import struct
from pathlib import Path
from random import Random

from .machine import Invocation, ask_machine
from .mutate import spoil_bytes, spoil_text

__all__ = ["ask_core"]

VMCOREINFO = (
    b"OSRELEASE=6.1.0-56-amd64\nBUILD-ID=0123456789abcdef0123456789abcdef01234567\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff82a13440\n"
    b"SYMBOL(_stext)=ffffffff81000000\nOFFSET(page.flags)=0\nSIZE(page)=64\nKERNELOFFSET=0\nNUMBER(phys_base)=0\n"
    b"SYMBOL(swapper_pg_dir)=ffffffff82c0a000\nNUMBER(pgtable_l5_enabled)=0\nCRASHTIME=1\n"
)


def core(random: Random) -> bytes:
    """An ELF core dump of a kernel that has a little memory, or none of a kernel."""
    text = spoil_text(VMCOREINFO, random) if random.random() < 0.6 else VMCOREINFO
    name = random.choice((b"VMCOREINFO\0", b"VMCOREINFO\0", b"CORE\0"))
    note = (
        struct.pack("<III", len(name), len(text), 0)
        + name.ljust(-(-len(name) // 4) * 4, b"\0")
        + text.ljust(-(-len(text) // 4) * 4, b"\0")
    )
    header = 64 + 2 * 56
    memory = bytes(4096)
    elf = b"\x7fELF" + bytes((2, 1, 1, 0)) + bytes(8)
    elf += struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 4, 0, header, 0, 0, len(note), len(note), 0)
    elf += struct.pack("<IIQQQQQQ", 1, 7, header + len(note), 0xFFFF888000000000, 0, len(memory), len(memory), 0)
    return elf + note + memory


def ask_core(folder: Path, out: Path, random: Random) -> Invocation:
    """A file that looks like a dump, and a command that reads it."""
    kind = random.randrange(6)
    if kind < 4:
        data = core(random)
        if random.random() < 0.6:
            begin = random.choice((64, 176, len(data)))
            data = data[:4] + spoil_bytes(data[4:begin], random) + data[begin:]
    elif kind == 4:
        data = (
            b"KDUMP   "
            + struct.pack("<i", random.choice((0, 1, 6, 7, -1, 2**31 - 1)))
            + random.randbytes(random.choice((0, 50, 5000)))
        )
    else:
        data = random.choice((b"DISKDUMP", b"makedumpfile", b"\x7fELF")) + random.randbytes(
            random.choice((0, 10, 5000))
        )
    path = folder / random.choice(("vmcore", "dump.elf", "machine.parquet"))
    path.write_bytes(data)
    asked = ask_machine(path, out, random)
    if asked.args[0] == "capture" and random.random() < 0.3:
        symbols = folder / "vmlinux"
        if random.random() < 0.8:
            symbols.write_bytes(core(random)[: random.choice((0, 4, 64, 5000))])
        asked = Invocation((*asked.args, "--symbols", str(symbols)))
    return asked
