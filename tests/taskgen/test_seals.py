"""JSON that tells when it was changed."""

import json
import random

import pytest

from taskgen.seals import loaded, seal_of, sealed

VALUE = {"b": [1, 2.5, None], "a": {"text": "ü", "9": True, "10": False}, "tuple": (1e-7, -0.0)}


def lines(count: int) -> list[str]:
    found, before = [], ""
    for number in range(count):
        line = sealed({"step": number, "x": number / 3}, before)
        before = line["digest"]
        found.append(json.dumps(line))
    return found


def read(text: list[str]) -> list[dict]:
    found, before = [], ""
    for line in text:
        found.append(loaded(line, before))
        before = seal_of(line)
    return found


def test_by_hand() -> None:
    """The first 16 digits of sha256(b'{"a":1}'), and of the line after it."""
    first = sealed({"a": 1})
    assert first == {"a": 1, "digest": "015abd7f5cc57a2d"}
    assert sealed({"a": 2}, first["digest"])["digest"] == "dd76ba5d245603d2"
    assert sealed({**first, "digest": "old"}) == first


def test_values_count_and_not_how_they_are_written() -> None:
    text = json.dumps(sealed(VALUE))
    assert loaded(text) == loaded(json.dumps(json.loads(text), indent=3, sort_keys=True))
    assert {1: "x", 10: "y", 9: "z"}.keys() == {
        int(key) for key in loaded(json.dumps(sealed({1: "x", 10: "y", 9: "z"}))) if key != "digest"
    }


def test_every_flipped_bit_is_told_or_changes_no_value() -> None:
    text = json.dumps(sealed(VALUE)).encode()
    expected = {key: value for key, value in json.loads(text).items() if key != "digest"}
    told = 0
    for place in range(len(text)):
        for bit in range(8):
            flipped = bytearray(text)
            flipped[place] ^= 1 << bit
            try:
                found = loaded(bytes(flipped).decode())
            except ValueError:
                told += 1
            else:
                assert {key: found.get(key) for key in expected} == expected, (place, bit)
    assert told > 7 * len(text)


@pytest.mark.parametrize("change", ["drop", "swap", "repeat", "drop the first"])
def test_lines_that_are_gone_or_moved_are_told(change: str) -> None:
    text = lines(6)
    assert [line["step"] for line in read(text)] == list(range(6))
    text = {
        "drop": [*text[:2], *text[3:]],
        "swap": [*text[:2], text[3], text[2], *text[4:]],
        "repeat": [*text[:3], text[2], *text[3:]],
        "drop the first": text[1:],
    }[change]
    with pytest.raises(ValueError, match="does not match its digest"):
        read(text)


def test_lines_of_before_there_were_hashes_are_read_and_go_on_with_them() -> None:
    old = [json.dumps({"step": number}) for number in range(3)]
    assert read([*old, *lines(3)])[-1]["step"] == 2
    with pytest.raises(ValueError, match="digest is missing"):
        read([*lines(3), old[2]])
    assert seal_of(old[0]) == seal_of("[1]") == seal_of("{") == ""


@pytest.mark.parametrize("text", ["[1]", "{", "", "[" * 100_000, '{"a": NaN, "digest": "0"}'])
def test_what_is_no_object_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        loaded(text)


def test_random_damage_of_a_file_of_lines_is_told_or_changes_nothing() -> None:
    rng, text = random.Random(3), "\n".join(lines(8))
    expected = [{"step": n, "x": n / 3} for n in range(8)]
    for _ in range(400):
        data = bytearray(text.encode())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            found = read(bytes(data).decode().split("\n"))
        except ValueError:
            continue
        assert [{"step": line["step"], "x": line["x"]} for line in found] == expected
