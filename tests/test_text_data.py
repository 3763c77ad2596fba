"""Text, vocabulary and streams."""

import numpy as np
import pytest

from gpurnn.data.streams import Streams
from gpurnn.data.text import built_in_text, read_text, split_held_out
from gpurnn.data.vocabulary import Vocabulary


def test_built_in_text_is_long_and_always_the_same():
    text = built_in_text()
    assert len(text) > 300_000
    assert text == built_in_text()
    assert "statement" in text


def test_reads_utf8_and_drops_the_byte_order_mark(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbf" + "Grüße\r\naus 東京".encode())
    assert read_text(path) == "Grüße\naus 東京"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"abc \xff\xfe", r"not UTF-8 text: byte 0xff at position 4"),
        (None, "cannot be read: No such file"),
    ],
)
def test_unusable_files_are_named(tmp_path, content, message):
    path = tmp_path / "some text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"some text\.txt: {message}"):
        read_text(path)


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_text(tmp_path)


def test_the_last_tenth_is_held_out():
    learned, held_out = split_held_out("0123456789" * 10 + "x")
    assert (len(learned), len(held_out)) == (91, 10)
    assert learned + held_out == "0123456789" * 10 + "x"


def test_vocabulary_there_and_back():
    text = "Hällo 🌍\n東京 hello"
    vocabulary = Vocabulary.of(text)
    codes = vocabulary.encode(text)
    assert codes.dtype == np.int32
    assert vocabulary.decode(codes) == text
    assert sorted(set(codes)) == list(range(len(vocabulary)))


def test_vocabulary_names_strange_characters():
    vocabulary = Vocabulary.of("abc")
    with pytest.raises(ValueError, match=r"text: .* 3 characters: 'D', 'z'"):
        vocabulary.encode("abzDa")
    assert len(vocabulary.encode("")) == 0


@pytest.mark.parametrize("characters", ["", "ba", "aab"])
def test_vocabulary_refuses_what_is_none(characters):
    with pytest.raises(ValueError, match="characters: expected"):
        Vocabulary(characters)


@pytest.mark.parametrize(("count", "batch_size", "steps"), [(104, 4, 7), (101, 4, 5), (6, 5, 100)])
def test_streams_use_every_pair_but_a_small_rest(count, batch_size, steps):
    streams = Streams(np.arange(count), batch_size, steps)
    inputs, targets = (np.concatenate(parts) for parts in zip(*streams))
    assert inputs.shape == (streams.length, batch_size)
    assert np.array_equal(targets, inputs + 1)
    # Side by side, one after the other: read down its column, a stream continues the one before.
    assert np.array_equal(inputs.T.reshape(-1), np.arange(count - 1 - streams.dropped))
    assert 0 <= streams.dropped < batch_size
    assert [len(chunk) for chunk, _ in streams][:-1] == [steps] * (len(streams) - 1)


def test_streams_refuse_too_little():
    with pytest.raises(ValueError, match="codes: expected more than batch_size = 5 of them, got 5"):
        Streams(np.arange(5), 5, 10)
    with pytest.raises(ValueError, match="steps"):
        Streams(np.arange(50), 5, 0)
    with pytest.raises(ValueError, match="batch_size"):
        Streams(np.arange(50), 0, 5)
    with pytest.raises(IndexError):
        Streams(np.arange(50), 5, 5)[2]
