"""Rules that hold for the code as a whole."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import virtualloop
import virtualloop._private
import virtualloop.schedules

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "virtualloop"


def name_of(path):
    """Return the name of a module within the package: "_loop", "network._hosts", and "network" for its __init__."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text()) for path in sorted(SRC.rglob("*.py"))}

#: From the bottom up; each module may import those before it.
LAYERS = [
    "_errors",
    "_clock",
    "_timers",
    "_ready",
    "_token",
    "_recorder",
    "schedules",
    "_private",
    "_handles",
    "_tasks",
    "_parked",
    "_threads",
    "_signals",
    "_frames",
    "_waits",
    "_report",
    "_spins",
    "_leftovers",
    "_chronicle",
    "_timeline",
    "_perfetto",
    "trace",
    "network._names",
    "network._watch",
    "network._wire",
    "network._links",
    "network._machines",
    "network._endpoint",
    "network._handshake",
    "network._faces",
    "network._adoption",
    "network._paths",
    "network._medium",
    "network._power",
    "network._hosts",
    "network",
    "_unsupported",
    "_borrowed",
    "_services",
    "_loop",
    "_inside",
    "_search",
    "_shrink",
    "_trial",
    "_trials",
    "_story",
    "_failure",
    "_progress",
    "_explore",
    "__init__",
]
#: These are tested without a loop, and know nothing of asyncio.
PURE = ["_errors", "_clock", "_timers", "_ready", "_recorder", "_token", "schedules", "_parked", "_chronicle"]


def nodes(tree):
    """Walk a module, but for what only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from nodes(node)


def imports(tree):
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            # Of a package, what is imported may be one of its modules.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in names if name.removeprefix("virtualloop.") in MODULES]
            yield from modules or [node.module]


def test_every_module_has_its_layer():
    assert sorted(LAYERS) == sorted(MODULES)


def test_imports_go_downwards():
    for name, tree in MODULES.items():
        below = LAYERS[: LAYERS.index(name)]
        own = [module.removeprefix("virtualloop.") for module in imports(tree) if module.startswith("virtualloop")]

        assert set(own) <= set(below), name


def test_the_core_is_pure():
    for name in PURE:
        assert not any(module.split(".")[0] == "asyncio" for module in imports(MODULES[name])), name


def test_only_the_standard_library_is_imported():
    for name, tree in MODULES.items():
        for module in imports(tree):
            assert module.split(".")[0] in {*sys.stdlib_module_names, "virtualloop"}, name


def test_only_schedules_draws():
    for name, tree in MODULES.items():
        drawn = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in ("random", "getrandbits")}

        if name != "schedules":
            assert not drawn, name


def test_private_names_of_others_are_listed():
    """Whatever begins with an underscore is defined in this package or stands, with its reason, in _private.py."""
    used, defined = set(), set()
    for tree in MODULES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                (defined if own and isinstance(node.ctx, ast.Store) else used).add(node.attr)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                defined.add(node.name)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
                if isinstance(node.args[1], ast.Constant) and str(node.args[1].value).startswith("_"):
                    used.add(node.args[1].value)
    others = {name for name in used - defined if not name.startswith(("__", "_virtualloop"))}

    assert others <= set(virtualloop._private.ATTRIBUTES)
    assert all(reason.strip() for reason in virtualloop._private.ATTRIBUTES.values())


def test_no_listed_private_name_is_unused():
    text = "".join(path.read_text() for path in SRC.rglob("*.py") if path.stem != "_private")
    text += (SRC / "_private.py").read_text().split("ATTRIBUTES = {")[0]

    assert [name for name in virtualloop._private.ATTRIBUTES if not re.search(rf"\b{name}\b", text)] == []


def test_public_names():
    assert set(virtualloop.__all__) == {
        "DeadlockError",
        "Exploration",
        "Failure",
        "LivelockError",
        "Network",
        "Schedule",
        "Trace",
        "UnsupportedError",
        "VirtualLoop",
        "VirtualLoopError",
        "advance",
        "choose",
        "explore",
        "explored",
        "note",
        "run_until_idle",
    }
    assert set(virtualloop.schedules.__all__) == {
        "Choice",
        "Exhaustive",
        "Random",
        "Recording",
        "Replay",
        "ReplayError",
        "Schedule",
    }
    extra = set(dir(virtualloop.VirtualLoop)) - set(dir(__import__("asyncio").BaseEventLoop))
    assert {name for name in extra if not name.startswith("_")} == {
        "advance",
        "describe_tasks",
        "network",
        "order",
        "run_until_idle",
        "seed",
        "slow_callback_duration",  # asyncio's loops have it, too, set in their __init__
        *(name for name in vars(virtualloop._unsupported.Outside) if not name.startswith("_")),
    } & extra


def test_every_module_says_what_it_owns():
    for name, tree in MODULES.items():
        docstring = ast.get_docstring(tree)

        assert docstring, name
        if name not in ("__init__", "_private"):
            assert "Owns" in docstring or "Owns" in docstring.replace("owns", "Owns"), name


def test_the_package_is_typed_and_says_its_version_once():
    assert (SRC / "py.typed").exists()
    pyproject = (ROOT / "pyproject.toml").read_text()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    version = re.search(r'^version = "(.+)"$', pyproject, re.MULTILINE)[1]

    assert f"## [{version}]" in changelog or "## [Unreleased]" in changelog


def test_nothing_heavy_is_imported():
    """What only reports, benchmarks or tests need is loaded when used."""
    code = (
        "import asyncio, sys; before = set(sys.modules); import virtualloop; print(*sorted(set(sys.modules) - before))"
    )
    new = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()

    assert not {"virtualloop.trace", "virtualloop._recorder", "virtualloop._chronicle"} & set(new)
    assert not {
        "virtualloop.network",
        "fractions",
        "dis",
        "html",
        "json",
        "multiprocessing",
        "hypothesis",
        "pytest",
        "unittest",
    } & set(new)
