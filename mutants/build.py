"""All mutations in one build of a copy of the package; the tree itself is never touched.

Each mutated function stands beside the original, which calls it if the environment names its number. So the core is
compiled once, without optimisation, where a build for each mutation takes 6 s of processor time (measured).
"""

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from .mutation import Mutation, mutated, span

__all__ = ["NUMBER", "BuildError", "build", "tree_of"]

#: Environment variable: number of the mutation that is on; 0: none.
NUMBER = "MUTANTS_NUMBER"

#: At the top of the core: the number, and a way to ask for it.
SWITCH = f"""
import os
MUTANT = cython.declare(cython.uint, int(os.environ.get("{NUMBER}", "0")))


def mutant_number():
    return MUTANT
"""


class BuildError(Exception):
    """The core with all mutations does not compile."""


def build(mutations: Sequence[Mutation], package: Path, folder: Path) -> None:
    """Copy the package to ``folder/all`` and compile it with all mutations of the core, numbered from 1.

    Raises:
        StaleError: the text that a mutation replaces is not there.
        BuildError: a mutation does not compile.
    """
    copy = folder / "all" / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "_core.c", "_core.*.so", "_scan.c"))
    numbers = {mutation.name: number for number, mutation in enumerate(mutations, 1)}
    for file in {mutation.file for mutation in mutations if mutation.compiled}:
        here = [mutation for mutation in mutations if mutation.file == file]
        text = with_variants((copy / file).read_text(), here, numbers)
        (copy / file).write_text(text)
    zone = copy / "mm" / "zone.py"
    zone.write_text(zone.read_text().replace("\nimport cython\n", f"\nimport cython\n{SWITCH}", 1))
    compile_core(copy)


def tree_of(mutation: Mutation | None, package: Path, folder: Path) -> Path:
    """Where to import a mutation from: the build of all, or for ordinary Python a copy of it with the change."""
    everything = folder / "all"
    if mutation is None or mutation.compiled:
        return everything
    tree = folder / mutation.name
    if not tree.exists():
        # links: a copy of the compiled core for each takes gigabytes
        shutil.copytree(
            everything, tree, copy_function=os.link, ignore=shutil.ignore_patterns("*.notes", "__pycache__")
        )
        file = tree / package.name / mutation.file
        text = file.read_text()
        file.unlink()
        file.write_text(mutated(mutation, text))
    return tree


def with_variants(text: str, mutations: Sequence[Mutation], numbers: dict[str, int]) -> str:
    """A room's text in which each mutated function calls its variants, which stand at the end."""
    signatures = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    variants: list[str] = []
    calls: dict[str, str] = {}
    for mutation in mutations:
        function, number = mutation.function, numbers[mutation.name]
        node = signatures[function]
        start, end = span(text, mutation.where)
        decorators = "".join(f"@{ast.unparse(decorator)}\n" for decorator in node.decorator_list)
        name = f"{function}_mutant_{number}"
        changed = mutated(mutation, text)
        body = changed[start : len(changed) - (len(text) - end)].strip().replace(f"def {function}(", f"def {name}(", 1)
        variants.append(f"\n\n{decorators}{body}\n")
        call = f"{name}({', '.join(argument.arg for argument in node.args.args)})"
        nothing = node.returns is None or ast.unparse(node.returns) in ("cython.void", "None")
        answer = f"        {call}\n        return\n" if nothing else f"        return {call}\n"
        calls[function] = calls.get(function, "") + f"    if MUTANT == {number}:\n{answer}"
    lines = text.splitlines(keepends=True)
    for function in sorted(calls, key=lambda name: -signatures[name].lineno):
        docstring = signatures[function].body[0]
        lines.insert(docstring.end_lineno or docstring.lineno, calls[function])
    return "".join(lines) + "".join(variants)


def compile_core(package: Path) -> None:
    """Cython, then the C compiler."""
    c_file = package / "mm" / "_core.c"
    library = package / "mm" / f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    cython = [
        sys.executable,
        "-m",
        "cython",
        "-3",
        "--no-docstrings",
        f"{package.name}/mm/_core.pyx",
        "-o",
        str(c_file),
    ]
    cc = (sysconfig.get_config_var("CC") or "cc").split()
    flags = ["-O0", "-w", "-shared", "-fPIC", f"-I{sysconfig.get_path('include')}"]
    for command in (cython, [*cc, *flags, str(c_file), "-o", str(library)]):
        done = subprocess.run(command, cwd=package.parent, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError((done.stderr or done.stdout).strip()[-3000:])
    c_file.unlink()
