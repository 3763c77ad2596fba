"""Reading text: a file of the user's, or the prose that every Python ships."""

from pathlib import Path

BUILT_IN_NAME = "pydoc_data.topics"


def built_in_text():
    """Python's own reference for `help()`: about 465,000 characters of English and some code."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise ValueError(f"this Python comes without {BUILT_IN_NAME}: name a text file") from None
    return "\n".join(topics[name] for name in sorted(topics))


def read_text(path):
    """The text of a UTF-8 file, a byte order mark dropped, line ends as in `open`.

    ValueError, naming the file, if it cannot be read, is empty or is not UTF-8.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not UTF-8 text: byte 0x{error.object[error.start]:02x} "
            f"at position {error.start:,}"
        ) from error
    if not text:
        raise ValueError(f"{path}: is empty")
    return text


def split_held_out(text):
    """(text to learn from, held-out text): the last tenth is held out."""
    cut = len(text) - len(text) // 10
    return text[:cut], text[cut:]
