"""Code that Python knows less of than usual: without line numbers, without source, from a zip file, from exec()."""

import asyncio
import importlib
import zipfile

import pytest

from helpers import run
from virtualloop import DeadlockError, LivelockError, Trace, explore

#: In a code's table of lines: eight instructions without one.
NO_LINE = bytes([0x80 | 15 << 3 | 7])


def without_lines(function, file="ext/core.pyx", *, table=None):
    """Make a function one of a compiled extension, as far as its frames tell."""
    code = function.__code__
    table = NO_LINE * (len(code.co_code) // 16 + 1) if table is None else table
    function.__code__ = code.replace(co_linetable=table, co_filename=file)


def deadlock(main, **options):
    with pytest.raises(DeadlockError) as caught:
        run(main, **options)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("table", [None, b""])
@pytest.mark.parametrize("file", ["ext/core.pyx", "<string>", "", "\0", "no/such/file.py", "x" * 10_000, "\udcff"])
def test_a_blocked_frame_without_lines(file, table):
    async def compiled(future):
        await future

    without_lines(compiled, file, table=table)

    async def main():
        await compiled(asyncio.get_running_loop().create_future())

    lines = deadlock(main)

    assert lines[2] == "  'Task-1' awaits Future 'future', which is not done"
    assert lines[5] == f'    File "{file}", in {compiled.__qualname__}'


def test_a_lock_that_is_held_in_a_frame_without_lines():
    async def compiled(lock, seconds):
        async with lock:
            await asyncio.sleep(seconds)
            await asyncio.Event().wait()

    async def main():
        lock = asyncio.Lock()
        await asyncio.gather(compiled(lock, 1), compiled(lock, 2))

    without_lines(compiled)
    text = "\n".join(deadlock(main))

    assert "'Task-3' awaits Lock 'lock', held by 'Task-2'" in text


def test_everything_else_that_is_said_of_frames_without_lines():
    async def spinning():
        while True:
            await asyncio.sleep(0)

    async def failing():
        await asyncio.sleep(0.01)
        raise LookupError

    def callback():
        raise LookupError

    for function in (spinning, failing, callback):
        without_lines(function)
    with pytest.raises(LivelockError, match=r'in \S*spinning\(\)\n    File "ext/core.pyx", in \S*spinning'):
        run(spinning, spin_limit=10_000)

    async def main():
        asyncio.get_running_loop().call_soon(callback)
        asyncio.create_task(failing(), name="failing")
        await asyncio.sleep(1)
        await asyncio.Event().wait()

    trace = Trace()
    text = "\n".join(deadlock(main, trace=trace))
    assert "in callback " in text
    assert 'File "ext/core.pyx", in ' in text
    assert "core.pyx" in str(trace)
    failure = explore(failing, check=False, order="io").failure
    assert isinstance(failure.exception, LookupError)
    assert "core.pyx" in failure.report


def test_code_of_a_zip_file_is_quoted(tmp_path, monkeypatch):
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("bundled.py", "import asyncio\nasync def main():\n    await asyncio.Event().wait()\n")
    monkeypatch.syspath_prepend(str(path))
    lines = deadlock(importlib.import_module("bundled").main)

    assert lines[3:5] == [
        f'    File "{path / "bundled.py"}", line 3, in main',
        "      await asyncio.Event().wait()",
    ]


@pytest.mark.parametrize("loader", [None, "no loader", type("Loader", (), {"get_source": lambda self, name: 1 / 0})()])
def test_code_of_exec_has_a_line_and_no_source(loader):
    names = {"asyncio": asyncio, "__name__": "made", "__loader__": loader}
    source = "async def main():\n    await asyncio.Event().wait()\n"
    exec(compile(source, "made/of/nothing.py", "exec"), names)  # noqa: S102  # it stands here
    lines = deadlock(names["main"])

    assert lines[3] == '    File "made/of/nothing.py", line 2, in main'
    assert not lines[4].startswith("      ")
