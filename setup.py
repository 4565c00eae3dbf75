"""Builds the n-gram kernel; the rest of the package is described in pyproject.toml.

Optional: where there is no C compiler the installation goes on, and `data/decontaminate/ngrams.py`
does the same in plain Python. The source needs libc only, not Python's headers.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "cascade_rl.data.decontaminate._ngrams",
            sources=["src/cascade_rl/data/decontaminate/_ngrams.c"],
            extra_compile_args=["-O3"],
            optional=True,
        )
    ]
)
