"""The guides' code runs: all Python blocks of a guide one after the other, as a reader would."""

import asyncio
import gc
import re
import warnings
from pathlib import Path

import pytest

GUIDES = sorted((Path(__file__).parent.parent / "examples" / "guide").glob("*.md"))


def run_with_factory(main, *, loop_factory=None):
    """asyncio.run() as it is since Python 3.12."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main)


#: Guides that show what their code prints: how that begins, and the file that the code would be in.
SHOWN = {
    "reading_a_story": ("virtualloop: ", "shop.py"),
    "properties_and_histories": ("not linearizable: ", "three_clients.py"),
}


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_code_in_a_guide(path, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(asyncio, "run", run_with_factory)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    names = {"__name__": "guide"}
    beginning, file = SHOWN.get(path.stem, ("", ""))
    for number, code in enumerate(blocks):
        exec(compile(code, file or f"{path.name}, block {number}", "exec"), names)  # noqa: S102  # it is ours
    if file:
        page = path.read_text(encoding="utf-8")
        (shown,) = re.findall(rf"^```text\n({beginning}.*?)^```$", page, re.DOTALL | re.MULTILINE)
        # Its token is another one on each version of Python.
        assert shown.partition("replay=")[0] in capsys.readouterr().out
    # What a partition or a crash leaves open is said here, and not while another test runs.
    names.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_a_guide_is_read_in_ten_minutes(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 150


def test_each_method_of_a_loop_is_described_once():
    page = (Path(__file__).parent.parent / "examples" / "guide" / "the_loop_api.md").read_text(encoding="utf-8")
    described = [
        name for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]

    assert sorted(described) == sorted(name for name in dir(asyncio.AbstractEventLoop) if not name.startswith("_"))
