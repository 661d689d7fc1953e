"""Build of the compiled core: the rooms of mm/ as one extension, the two hot loops of reading as others."""

from Cython.Build import cythonize
from setuptools import Extension, setup

FLAGS = ["-O3", "-g1"]

extensions = cythonize(
    [
        Extension("pageblock.mm._core", ["src/pageblock/mm/_core.pyx"], extra_compile_args=FLAGS),
        Extension("pageblock.machine._actions", ["src/pageblock/machine/_actions.pyx"], extra_compile_args=FLAGS),
        Extension("pageblock.machine._scan", ["src/pageblock/machine/_scan.pyx"], extra_compile_args=FLAGS),
    ],
    include_path=["src"],
)
for extension in extensions:
    # without a compiler the package installs all the same and says that it is slow; cythonize() drops the argument
    extension.optional = True
setup(ext_modules=extensions)
