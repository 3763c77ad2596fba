"""Devices, and how hypothesis draws."""

import pytest
from hypothesis import settings

# Kernels compile on first use, so no deadline; the same examples every time, so that a red run
# can be repeated. `--hypothesis-profile=thorough` looks for new ones.
settings.register_profile("default", deadline=None, derandomize=True, max_examples=20)
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.load_profile("default")


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    return request.param


def pytest_runtest_setup(item):
    if item.get_closest_marker("cuda") is None:
        return
    import gpurnn

    if not gpurnn.cuda.is_available():
        pytest.skip(f"no CUDA: {gpurnn.cuda.why_not()}")
