"""Build of the compiled core: the rooms of mm/ as one extension, the hot loops of reading and of the explorer as others."""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

# inline means inlined, and all else stays a function: what runs for each page is one loop, which GCC by itself would take for
# too large, and which needs the registers for itself; they go to it, not to what GCC computes ahead of paths that are rare
FLAGS = [
    "-O2",
    "-g1",
    "-fno-inline-functions-called-once",
    "-fno-tree-pre",
    "-fira-region=one",
    "-DCYTHON_INLINE=inline __attribute__((always_inline))",
]

# "make sanitize": the compiler checks each access and what C leaves undefined; slow, and for a build folder of its own
SANITIZE = os.environ.get("PAGEBLOCK_SANITIZE", "")
if SANITIZE:
    FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=undefined"]
LINK = [f"-fsanitize={SANITIZE}"] if SANITIZE else []

#: Extension modules; each has its .pyx beside it.
MODULES = (
    "pageblock.mm._core",
    "pageblock.machine._actions",
    "pageblock.machine._scan",
    "pageblock.check.explorer._explore",
)

extensions = cythonize(
    [
        Extension(name, [f"src/{name.replace('.', '/')}.pyx"], extra_compile_args=FLAGS, extra_link_args=LINK)
        for name in MODULES
    ],
    include_path=["src"],
)
for extension in extensions:
    # without a compiler the package installs all the same and says that it is slow; cythonize() drops the argument
    extension.optional = True
setup(ext_modules=extensions)
