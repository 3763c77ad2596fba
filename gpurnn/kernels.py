"""Signpost: makes the folder of kernels importable as ``gpurnn.kernels``.

In a checkout and in an editable install the kernels stand in ``../kernels``; in a wheel they
lie in ``gpurnn/kernels``. Where the latter exists, Python finds a package there before it
would find this file only if that folder had an ``__init__.py``, which it must not have.
"""

from pathlib import Path

_here = Path(__file__).resolve().parent
__path__ = [str(p) for p in (_here / "kernels", _here.parent / "kernels") if p.is_dir()]
