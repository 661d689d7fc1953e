"""Build of the compiled core: the rooms of mm/ as one extension, the hot loops of reading and of the explorer as others."""

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

extensions = cythonize(
    [
        Extension("pageblock.mm._core", ["src/pageblock/mm/_core.pyx"], extra_compile_args=FLAGS),
        Extension("pageblock.machine._actions", ["src/pageblock/machine/_actions.pyx"], extra_compile_args=FLAGS),
        Extension("pageblock.machine._scan", ["src/pageblock/machine/_scan.pyx"], extra_compile_args=FLAGS),
        Extension(
            "pageblock.check.explorer._explore", ["src/pageblock/check/explorer/_explore.pyx"], extra_compile_args=FLAGS
        ),
    ],
    include_path=["src"],
)
for extension in extensions:
    # without a compiler the package installs all the same and says that it is slow; cythonize() drops the argument
    extension.optional = True
setup(ext_modules=extensions)
