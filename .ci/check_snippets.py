"""Run what README and guides show of other packages: each block as it stands, in a session of pytest of its own.

Needs the optional group "nightly". Blocks of plain Python are run by the tests themselves.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

IMPORTS = """
import asyncio
import pytest
from virtualloop import VirtualLoop, explored
"""
ASYNCIO = """
import asyncio
import pytest

@pytest.mark.asyncio
async def test_sleeps():
    await asyncio.sleep(3600)
    assert asyncio.get_running_loop().time() == 3600
"""
ANYIO = ASYNCIO.replace("asyncio\nasync def", "anyio\nasync def")
SERVICE = """
class Service:
    @classmethod
    async def start(cls):
        return cls()

    async def stop(self):
        pass
"""
FIXTURE = """
@pytest.fixture
async def service():
    return 1
"""
APPLICATION = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

async def slow(request):
    await asyncio.sleep(3600)
    return PlainTextResponse(f"at {asyncio.get_running_loop().time():g}")

app = Starlette(routes=[Route("/", slow)])

def test_application():
    with CLIENT as client:
        assert client.get("/").text == "at 3600"
"""

#: Where a block stands, a line of it, and the files that it is put into, with what passes then.
SNIPPETS = [
    ("README.md", "pytest_asyncio_loop_factories", {"conftest.py": IMPORTS + "{}", "test_it.py": ASYNCIO}, "1 passed"),
    ("frameworks.md", "pytest_asyncio_loop_factories", {"conftest.py": "{}", "test_it.py": ASYNCIO}, "1 passed"),
    ("frameworks.md", "anyio_backend", {"conftest.py": IMPORTS + "{}", "test_it.py": ANYIO}, "1 passed"),
    ("frameworks.md", "TestClient(app", {"test_it.py": IMPORTS + APPLICATION.replace("CLIENT", "{}")}, "1 passed"),
    (
        "fixtures_in_explored_tests.md",
        "service = await Service.start()",
        {"test_it.py": IMPORTS + SERVICE + "{}"},
        "1 exploration",
    ),
    (
        "fixtures_in_explored_tests.md",
        "@pytest.mark.explored(",
        {"test_it.py": IMPORTS + FIXTURE + "{}"},
        "1 exploration",
    ),
]


def block(page: str, line: str) -> str:
    """Return the block of a page that has this line, without commands of a shell."""
    path = ROOT / page if page == "README.md" else ROOT / "examples" / "guide" / page
    blocks = re.findall(r"^```text\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (found,) = (text for text in blocks if line in text)
    return re.sub(r"^pytest .*\n?", "", found, flags=re.MULTILINE).rstrip()


def run(page: str, line: str, files: dict[str, str], told: str) -> str | None:
    """Run a block; return what went wrong, or None."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text.replace("{}", block(page, line)), encoding="utf-8")
        options = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"]
        command = [sys.executable, "-m", "pytest", *options]
        done = subprocess.run(
            command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False, timeout=120
        )
    return None if done.returncode == 0 and told in done.stdout else done.stdout + done.stderr


def main() -> None:
    """Run all of them; say which fail."""
    failed = False
    for page, line, files, told in SNIPPETS:
        wrong = run(page, line, files, told)
        print(f"{page}, {line}: {'as shown' if wrong is None else wrong}")
        failed = failed or wrong is not None
    sys.exit(failed)


if __name__ == "__main__":
    main()
