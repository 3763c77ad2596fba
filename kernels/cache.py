"""Compiled kernels on disk, so that a second process need not compile.

Numba's own cache knows only the file a function stands in. Ours are assembled from many: a
cell's formula edited in one file would leave stale machine code for the loops of another. So
the key here is a hash of everything that is compiled into a kernel. A cache that cannot be read
or written costs time, never correctness: every failure means "not cached".
"""

import hashlib
import os
import pickle
import platform
import sys
import tempfile
from functools import cache
from pathlib import Path

import llvmlite
import numba
import numpy as np
from numba.core.serialize import dumps


def folder():
    """Where compiled kernels are kept: GPURNN_CACHE_DIR, NUMBA_CACHE_DIR/gpurnn, or the user's."""
    if os.environ.get("GPURNN_CACHE_DIR"):
        return Path(os.environ["GPURNN_CACHE_DIR"])
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"]) / "gpurnn"
    if sys.platform == "darwin":
        user = "~/Library/Caches"
    elif os.name == "nt":
        user = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    else:
        user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(user).expanduser() / "gpurnn"


@cache
def sources_digest():
    """Hash of every source file of the kernels and of the versions that compile them."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted(here.rglob("*.py")):
        digest.update(str(path.relative_to(here)).encode())
        digest.update(path.read_bytes())
    versions = (sys.version, platform.machine(), numba.__version__, llvmlite.__version__, np.__version__)
    digest.update(repr(versions).encode())
    return digest.hexdigest()


class DiskCache:
    """What a Numba dispatcher expects of its cache; one file for each kernel and signature.

    Parameters
    ----------
    identity : str
        All that distinguishes the kernel from others made of the same sources.
    rebuild : callable
        (target context, what the compiled object's ``_reduce`` gave) -> compiled object.
    reduce : callable
        Compiled object -> what `rebuild` needs.
    """

    def __init__(self, identity, reduce, rebuild):
        self._identity, self._reduce, self._rebuild = identity, reduce, rebuild
        self.cache_path = str(folder())

    def _file(self, signature, context):
        parts = (self._identity, str(signature), context.codegen().magic_tuple(), sources_digest())
        return folder() / f"{hashlib.sha256(repr(parts).encode()).hexdigest()}.kernel"

    def load_overload(self, signature, context):
        """The compiled kernel, or None."""
        context.refresh()
        try:
            return self._rebuild(context, pickle.loads(self._file(signature, context).read_bytes()))
        except FileNotFoundError:
            return None
        except Exception:  # a damaged file can raise anything at all
            return None

    def save_overload(self, signature, compiled, context=None):
        """Keep the compiled kernel, if the disk lets us."""
        try:
            file = self._file(signature, context or compiled.target_context)
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=file.parent)
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(dumps(self._reduce(compiled)))
                os.replace(temporary, file)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError:
            pass

    def enable(self):
        """Numba calls these on every cache; ours is always on."""

    def disable(self):
        """See `enable`."""

    def flush(self):
        """See `enable`: files of other sources are never read, so none need be removed."""
