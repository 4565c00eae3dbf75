"""Builds the two C kernels; the rest of the package is described in pyproject.toml.

Optional: where there is no C compiler the installation goes on, and `data/decontaminate/ngrams.py`
and `engines/local/decode.py` do the same in Python. The sources need libc only, not Python's
headers.
"""

from setuptools import Extension, setup

# Sums may be taken in another order, or no loop over floats is made wide. Not -ffast-math: linked
# into a library it changes how the whole process treats denormal numbers.
WIDE = [
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fassociative-math",
    "-fno-signed-zeros",
    "-ffinite-math-only",
    "-freciprocal-math",
]

setup(
    ext_modules=[
        Extension(
            "cascade_rl.data.decontaminate._ngrams",
            sources=["src/cascade_rl/data/decontaminate/_ngrams.c"],
            extra_compile_args=["-O3"],
            optional=True,
        ),
        Extension(
            "cascade_rl.engines.local._decode",
            sources=["src/cascade_rl/engines/local/_decode.c"],
            depends=["src/cascade_rl/engines/local/_decode_body.h"],
            extra_compile_args=WIDE,
            optional=True,
        ),
    ]
)
