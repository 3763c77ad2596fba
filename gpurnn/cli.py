"""The command `gpurnn`: what stands before it, and how it ends."""

import sys
from importlib.util import find_spec

NEEDED = ("typer", "tqdm", "safetensors")


def main(arguments=None):
    """Run the command line; `arguments` is a list of strings (None: those of the process).

    Ends with SystemExit. Codes: 0 done; 1 an error, told in one line; 2 wrong usage; 130
    interrupted.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        _fail(f"{', '.join(missing)} is not installed: pip install 'gpurnn[cli]'", 1)
    from gpurnn.commands import app
    from gpurnn.learning.interruption import Interrupted
    from gpurnn.learning.training import NonFiniteLoss

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a character the terminal lacks is no error
    try:
        app(arguments)
    except Interrupted as interrupted:
        _fail(interrupted, 128 + interrupted.signal)
    except (ValueError, OSError, NonFiniteLoss) as error:
        _fail(error, 1)


def _fail(message, code):
    print(f"gpurnn: {message}", file=sys.stderr)
    sys.exit(code)
