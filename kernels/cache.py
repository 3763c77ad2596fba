"""Compiled kernels on disk, so that a second process need not compile.

Numba's own cache knows only the file a function stands in. Ours are assembled from many: a
cell's formula edited in one file would leave stale machine code for the loops of another. So
the key here is a hash of everything that is compiled into a kernel. A cache that cannot be read
or written costs time, never correctness: every failure means "not cached".
"""

import hashlib
import itertools
import os
import pickle
import platform
import secrets
import sys
import tempfile
from pathlib import Path

import llvmlite
import numba
import numpy as np
from numba.core.bytecode import FunctionIdentity
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps


def _number_functions_apart():
    """Let the numbers in Numba's symbols be of this process alone.

    Numba tells functions of one name, and closures above all, apart by a number that counts up
    from 1 in every process. A kernel loaded from disk brings symbols numbered by another
    process; where name and number meet one of ours, the linker takes one function for the other.
    """
    FunctionIdentity._unique_ids = itertools.count(secrets.randbits(56))


_number_functions_apart()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_number_functions_apart)


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


def _sources_digest(target):
    """Hash of all source files of a target's kernels and of what compiles them."""
    digest = hashlib.sha256(target.encode())
    here = Path(__file__).parent
    for path in sorted(
        [*here.glob("*.py"), *here.glob("cells/*.py"), *here.glob(f"{target}/*.py")]
    ):
        digest.update(str(path.relative_to(here)).encode())
        digest.update(path.read_bytes())
    versions = (
        sys.version,
        platform.machine(),
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
    )
    digest.update(repr(versions).encode())
    return digest.hexdigest()


# Taken as the sources are imported, not when a kernel is first compiled: a file edited in
# between would lend its name to the old code.
_DIGESTS = {target: _sources_digest(target) for target in ("cpu", "cuda")}


def _file(target, key):
    text = f"{_DIGESTS[target]} {key}"
    return folder() / f"{hashlib.sha256(text.encode()).hexdigest()}.kernel"


def load_bytes(target, key):
    """What `save_bytes` kept for a target, a key and these very sources, or None."""
    try:
        return _file(target, key).read_bytes()
    except OSError:
        return None


def save_bytes(target, key, data):
    """Keep `data` for a target and a key, if the disk lets us."""
    try:
        file = _file(target, key)
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError:
        pass


class DispatcherCache:
    """What a Numba dispatcher expects of its cache; one file for each kernel and signature.

    `identity` is all that distinguishes the kernel from others made of the same sources.
    """

    def __init__(self, identity):
        self._identity = identity
        self.cache_path = str(folder())

    def _key(self, signature, context):
        return f"{self._identity} {signature} {context.codegen().magic_tuple()}"

    def load_overload(self, signature, context):
        """The compiled kernel, or None."""
        context.refresh()
        data = load_bytes("cpu", self._key(signature, context))
        if data is None:
            return None
        try:
            return CompileResult._rebuild(context, *pickle.loads(data))
        except Exception:  # a damaged file can raise anything at all
            return None

    def save_overload(self, signature, compiled):
        """Keep the compiled kernel."""
        key = self._key(signature, compiled.target_context)
        save_bytes("cpu", key, dumps(compiled._reduce()))

    def enable(self):
        """Numba calls these on every cache; ours is always on."""

    def disable(self):
        """See `enable`."""

    def flush(self):
        """See `enable`: files of other sources are never read, so none need be removed."""
