"""Trees of tensors, arrays and JSON values."""

import json
import math
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agents.training.tree import flatten, not_finite, restore

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool)

tensors = st.builds(
    lambda dtype, shape, seed: (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 3).to(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3),
    st.integers(0, 2**31),
)
arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint32, np.bool_, np.dtype(">i4")]),
    hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
)
scalars = st.none() | st.booleans() | st.integers() | st.integers(2**64, 2**128) | st.floats() | st.text(max_size=5)
numpy_scalars = st.sampled_from([np.float64(0.1), np.float32(2.5), np.int8(-3), np.bool_(True)])
keys = st.text(max_size=4) | st.integers() | st.sampled_from([None, "$tensor", "a/b", "~", "0", 0, "__metadata__"])
trees = st.dictionaries(
    keys,
    st.recursive(
        tensors | arrays | scalars | numpy_scalars,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(keys, inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def same(left: object, right: object) -> bool:
    """Equal in type, shape and every bit that matters; NaN equals NaN."""
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        if (left.dtype, left.shape) != (right.dtype, right.shape):
            return False
        return torch.equal(torch.nan_to_num(left.double(), nan=0.125), torch.nan_to_num(right.double(), nan=0.125))
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray | np.generic):
        matching = left.shape == right.shape and left.dtype.newbyteorder("=") == right.dtype.newbyteorder("=")
        return matching and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    return left == right


@settings(max_examples=300, deadline=None)
@given(trees)
def test_round_trip_through_json_text(tree: dict) -> None:
    value, named = flatten(tree)
    assert same(restore(json.loads(json.dumps(value, allow_nan=False)), named), tree)


def test_integer_and_string_keys_stay_apart() -> None:
    tree = {"state": {0: torch.zeros(1), "0": torch.ones(1), True: torch.full((1,), 2.0)}}
    value, named = flatten(tree)
    assert len(named) == 3
    assert same(restore(value, named), tree)


def test_order_of_keys_does_not_show() -> None:
    tensor = torch.ones(2)
    first, second = flatten({"a": 1, "b": {2: tensor, 1: 0}}), flatten({"b": {1: 0, 2: tensor}, "a": 1})
    assert first[0] == second[0]
    assert list(first[1]) == list(second[1]) == ["/b/2"]


def test_views_shared_and_graph_tensors_are_copied_out() -> None:
    base = torch.arange(6.0, requires_grad=True).reshape(2, 3)
    _, named = flatten({"t": base.T, "again": base.T, "row": base[0], "expanded": base[0].expand(4, 3)})
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in named.values())
    assert len({tensor.data_ptr() for tensor in named.values()}) == 4
    assert torch.equal(named["/t"], base.detach().T)


def test_conjugate_view_keeps_its_value() -> None:
    tensor = torch.tensor([1 + 2j], dtype=torch.complex64).conj()
    assert flatten({"z": tensor})[1]["/z"].tolist() == [1 - 2j]


def test_generator_states_come_back() -> None:
    numpy_state = np.random.Generator(np.random.PCG64(7)).bit_generator.state
    torch_state = torch.Generator().manual_seed(7).get_state()
    tree = {"numpy": numpy_state, "torch": torch_state, "twister": np.random.MT19937(3).state}
    value, named = flatten(tree)
    assert same(restore(json.loads(json.dumps(value)), named), tree)


def test_ordered_dicts_come_back_as_dicts() -> None:
    value, named = flatten({"a": OrderedDict(b=1)})
    assert restore(value, named) == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"agent": {"seen": {1, 2}}}, "/agent/seen: a value of type set"),
        ({"a": [0, b"x"]}, "/a/1: a value of type bytes"),
        ({"a": namedtuple("Pair", "x y")(1, 2)}, "/a: a value of type Pair"),  # noqa: PYI024
        ({"a": {(1, 2): 3}}, r"/a has the key \(1, 2\)"),
        ({"a": np.array(["x"], dtype=object)}, "/a is an array of object"),
        ({"a": np.array("x")}, "/a is an array of <U1"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "/a is a torch.sparse_coo tensor"),
        ({"a": torch.zeros(2, device="meta")}, "/a is a torch.strided tensor on meta"),
        ({"a": torch.zeros(2, dtype=torch.complex128)}, "/a is a torch.complex128 tensor"),
    ],
)
def test_what_cannot_be_stored_is_named(tree: dict, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        flatten(tree)


@pytest.mark.parametrize("value", [{"$pickle": "x"}, {"$tensor": "/a", "other": 1}, {"$tensor": "/gone"}])
def test_unknown_marks_are_refused(value: dict) -> None:
    with pytest.raises((ValueError, KeyError)):
        restore({"a": value}, {"/a": torch.zeros(1)})


def test_what_is_not_finite_is_found_where_it_is():
    nan, inf = float("nan"), float("inf")
    tree = {
        "a": [1.0, nan, {0: torch.tensor([1.0, inf])}],
        "b": torch.zeros(2),
        "c/d": (np.array([nan]), np.float64(3), np.arange(3)),
        "e": {"text": "nan", "none": None, "count": 3, "yes": True, "bytes": torch.zeros(2, dtype=torch.uint8)},
        "f": np.float32(inf),
    }
    assert list(not_finite(tree)) == ["/a/1", "/a/2/0", "/c~1d/0", "/f"]
