"""The passes over memory: with BLAS, without it, in chunks; and numbers whose squares overflow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from parameter_server.shards import kernels
from parameter_server.shards.kernels import add_product, finite

LARGE = {"float32": 3e38, "float64": 1.7e308}


@pytest.fixture(params=["blas in one go", "blas bit by bit", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    kernels._length.cache_clear()
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1" if request.param == "blas in one go" else "2")
    if request.param == "numpy":
        monkeypatch.setattr(kernels, "_blas", dict)
    yield request.param
    kernels._length.cache_clear()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 7, 8192, 8193, 30_000])
def test_a_product_is_added(way: str, dtype: str, size: int) -> None:
    generator = np.random.default_rng(size)
    now, values = (generator.normal(size=size).astype(dtype) for _ in range(2))
    values.flags.writeable = False
    out = np.full(size, np.nan, dtype)
    add_product(out, now, -0.3, values)
    tiny = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(out, now.astype(float) - 0.3 * values.astype(float), rtol=4 * tiny, atol=4 * tiny)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 8192, 20_000])
def test_what_is_not_finite_is_found_wherever_it_is(way: str, dtype: str, size: int) -> None:
    for place in {0, size // 2, size - 1}:
        for bad in (np.nan, np.inf, -np.inf):
            values = np.ones(size, dtype)
            values[place] = bad
            assert not finite(values)
            values[place] = LARGE[dtype]
            assert finite(values)
            values[0] = -LARGE[dtype]
            assert finite(values)
    assert finite(np.zeros(0, dtype))


def test_shapes_and_types_are_no_matter(way: str) -> None:
    out = np.zeros((2, 3))
    add_product(out, np.ones((2, 3)), 2.0, np.ones((2, 3)))
    assert out.tolist() == [[3.0] * 3] * 2
    assert finite(np.ones((2, 3), np.float16))
    assert not finite(np.full((2, 3), np.nan))
    assert finite(np.ones(6)[::2])


def test_numbers_need_not_be_aligned(way: str) -> None:
    out, now, values = (np.zeros(81, np.uint8)[1:].view(np.float64) for _ in range(3))
    assert not out.flags.aligned
    now[:], values[:] = 1, np.arange(10)
    add_product(out, now, 2.0, values)
    assert out.tolist() == [1.0 + 2 * number for number in range(10)]
    assert finite(out)
