"""A suite as it stands, on the plain loop and on a ladder of later and later ones: see test_cache.py beside this file.

Run it: python -m pytest examples/conftest_seeds

With pytest-asyncio, this is all that a conftest.py needs:

    def pytest_asyncio_loop_factories(config, item):
        return LADDER

and with anyio's plugin:

    @pytest.fixture(params=LADDER.backends, ids=LADDER)
    def anyio_backend(request):
        return request.param

What is below does the same without either, for async tests that take no async fixtures.
"""

import asyncio
import inspect

import virtualloop

LADDER = virtualloop.ladder(seeds=2)


def pytest_generate_tests(metafunc):
    """Run each async test once on each loop."""
    if inspect.iscoroutinefunction(metafunc.function):
        metafunc.fixturenames.append("_loop_factory")
        metafunc.parametrize("_loop_factory", LADDER.values(), ids=LADDER)


def pytest_pyfunc_call(pyfuncitem):
    """Run an async test on its loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.function):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    with asyncio.Runner(loop_factory=pyfuncitem.callspec.params["_loop_factory"]) as runner:
        runner.run(pyfuncitem.obj(**arguments))
    return True
