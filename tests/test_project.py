"""Rules that hold for the code as a whole."""

import ast
import inspect
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import virtualloop
import virtualloop._stock.private
import virtualloop.histories
import virtualloop.schedules
from virtualloop import _errors

ROOT = Path(__file__).parent.parent
SRC = Path(virtualloop.__file__).parent  # which is the one that is installed, where a wheel is tested


def name_of(path):
    """Return the name of a module within the package: "_loop", "network._hosts", and "network" for its __init__."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


PATHS = {name_of(path): path for path in sorted(SRC.rglob("*.py"))}

#: From the bottom up; each module may import those before it.
LAYERS = [
    "_cpython",
    "_errors",
    "_folders",
    "_frames",
    "_core",
    "_core.clock",
    "_core.plain",
    "_core.timers",
    "_core.entries",
    "_core.events",
    "_core.moments",
    "_core.ready",
    "_core.lateness",
    "_core.arrivals",
    "_core.settling",
    "_core.spin",
    "_core.outside",
    "_core.scheduler",
    "_core.punctual",
    "_core.coroutines",
    "_core.shown",
    "_core.places",
    "_core.record",
    "_core.recorder",
    "_words",
    "schedules._token",
    "schedules._choice",
    "schedules._replay",
    "schedules._random",
    "schedules._answers",
    "schedules._exhaustive",
    "schedules",
    "_stock",
    "_stock.private",
    "_stock.handles",
    "_stock.tasks",
    "_stock.sockets",
    "_stock.processes",
    "_stock.sets",
    "_world",
    "_world.originals",
    "_world.shares",
    "_world.system",
    "_world.natives",
    "_world.frameworks",
    "_world.segments",
    "_world.ends",
    "_world.parked",
    "_world.patience",
    "_world.world",
    "_world.turns",
    "_world.executors",
    "_world.jobs",
    "_world.beginners",
    "_world.threads",
    "_world.pace",
    "_world.polls",
    "_world.children",
    "_world.timerfds",
    "_world.descriptors",
    "_world.processes",
    "_world.conversations",
    "_world.callers",
    "_world.aliases",
    "_world.clocks",
    "_world.calendar",
    "_world.entropy",
    "_world.travel",
    "_world.waits",
    "_world.steps",
    "_world.sleepers",
    "_world.patches",
    "_report",
    "_report.circles",
    "_report.frames",
    "_report.tracebacks",
    "_report.survey",
    "_report.text",
    "_report.broken",
    "_report.spinning",
    "_report.leaks",
    "trace._history",
    "trace._narrator",
    "trace._table",
    "trace._chain",
    "trace._html",
    "trace._perfetto",
    "trace._trace",
    "trace",
    "network._dns",
    "network._driver",
    "network._readiness",
    "network._kernel",
    "network._link",
    "network._pipe",
    "network._unix",
    "network._fabric",
    "network._handshake",
    "network._socket",
    "network._stream",
    "network._datagram",
    "network._socket_objects",
    "network._adoption",
    "network._outside",
    "network._stack",
    "network._hosts",
    "network._network",
    "network",
    "_loop",
    "_loop.signals",
    "_loop.alarms",
    "_loop.replaced",
    "_loop.handles",
    "_loop.timer_handle",
    "_loop.keeper",
    "_loop.driver",
    "_loop.explaining",
    "_loop.networking",
    "_loop.debugging",
    "_loop.base",
    "_loop.creation",
    "_loop.checked",
    "_loop.recorded",
    "_loop.options",
    "_loop.inbox",
    "_loop.endings",
    "_loop.hangs",
    "_loop.outside",
    "_loop.drive",
    "_loop.conditions",
    "_loop.virtual",
    "_loop.current",
    "properties",
    "histories._call",
    "histories._models",
    "histories._search",
    "histories._timeline",
    "histories._history",
    "histories",
    "_exploration",
    "_exploration.mark",
    "_exploration.mistakes",
    "_exploration.levels",
    "_exploration.replies",
    "_exploration.outcome",
    "_exploration.steps",
    "_exploration.body",
    "_exploration.generators",
    "_exploration.control",
    "_exploration.run",
    "_exploration.cases",
    "_exploration.survey",
    "_exploration.tree",
    "_exploration.late",
    "_exploration.search",
    "_exploration.shrink",
    "_exploration.cancel",
    "_exploration.program",
    "_exploration.verdict",
    "_exploration.progress",
    "_exploration.again",
    "_exploration.reduction",
    "_exploration.story",
    "_exploration.files",
    "_exploration.identity",
    "_exploration.jobs",
    "_exploration.leftovers",
    "_exploration.sameness",
    "_exploration.failure",
    "_exploration.isolated",
    "_exploration.pool",
    "_exploration.sometimes",
    "_exploration.budget",
    "_exploration.kept",
    "_exploration.first",
    "_exploration.requested",
    "_exploration.exploration",
    "_exploration.ledger",
    "_exploration.api",
    "_exploration.ladder",
    "pytest_plugin._internals",
    "pytest_plugin._summary",
    "pytest_plugin._host",
    "pytest_plugin._items",
    "pytest_plugin._cases",
    "pytest_plugin._choice",
    "pytest_plugin",
    "__init__",
    "__main__",
]
#: What still goes the other way: (who imports, what). Only ever shorter.
UPWARDS: set[tuple[str, str]] = set()
#: A module is at most so many lines.
LONGEST = 700

#: What things of ours are called whose private attributes are used by others than `self`, and the room that each is at
#: home in; "" is the room where it is used.
OURS = {
    "_loop": "_loop",
    "_running": "_loop",
    "entry": "",
    "listener": "",
    "loop": "_loop",
    "network": "network",
    "_network": "network",
    "other": "",
    "owner": "",
    "sock": "",
    "survey": "_report",
    "trace": "trace",
}
#: These are tested without a loop, and know nothing of asyncio.
PURE = ["_errors", "_folders", "_frames", "_words", "_report.circles"]
PURE += ["trace._history", "trace._narrator", "trace._table", "trace._chain"]
PURE += [f"_world.{name}" for name in ("aliases", "calendar", "clocks", "conversations", "descriptors", "entropy")]
PURE += [f"_world.{name}" for name in ("frameworks", "natives", "originals", "pace", "parked", "patience")]
PURE += [f"_world.{name}" for name in ("children", "ends", "processes")]
PURE += [f"_world.{name}" for name in ("segments", "shares", "system", "turns", "world")]
PURE += [name for name in PATHS if name.startswith(("_core", "schedules", "histories"))]


@pytest.fixture(scope="module")
def trees():
    """Return the modules as they are parsed; no longer than needed, since there are more nodes than other objects."""
    return {name: ast.parse(path.read_text()) for name, path in PATHS.items()}


def nodes(tree, *, types):
    """Walk a module; what only type checkers read is left out unless `types`."""
    for node in ast.iter_child_nodes(tree):
        if types or not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from nodes(node, types=types)


def imports(tree, *, types=False):
    for node in nodes(tree, types=types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            # Of a package, what is imported may be one of its modules.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in names if name.removeprefix("virtualloop.") in PATHS]
            yield from modules or [node.module]


def test_every_module_has_its_layer():
    assert sorted(LAYERS) == sorted(PATHS)


def test_the_modules_of_a_room_lie_together():
    rooms = [name.partition(".")[0] for name in LAYERS]

    assert [room for room, _ in itertools.groupby(rooms)] == list(dict.fromkeys(rooms))


def test_imports_go_downwards(trees):
    """For modules, and so for rooms; what only type checkers read included, since a reader follows that, too."""
    upwards = set()
    for name, tree in trees.items():
        below = LAYERS[: LAYERS.index(name)]
        own = {module.removeprefix("virtualloop.") for module in imports(tree, types=True) if is_ours(module)}
        upwards |= {(name, module) for module in own - set(below)}

    assert upwards == UPWARDS, "imports go downwards; what no longer goes up does not stand in the list"


def is_ours(module):
    return module.partition(".")[0] == "virtualloop"


def test_a_module_can_be_read_in_one_sitting():
    lengths = {name: len(path.read_text().splitlines()) for name, path in PATHS.items()}

    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_the_core_is_pure(trees):
    for name in PURE:
        assert not any(module.split(".")[0] == "asyncio" for module in imports(trees[name])), name


def test_only_the_standard_library_is_imported(trees):
    for name, tree in trees.items():
        for module in imports(tree):
            own = {"pytest", "_pytest"} if name.startswith("pytest_plugin") else set()
            assert module.split(".")[0] in {*sys.stdlib_module_names, "virtualloop", *own}, name


def test_only_schedules_draws(trees):
    for name, tree in trees.items():
        drawn = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in ("random", "getrandbits")}

        if name != "schedules._random":
            assert not drawn, name


def test_real_time_has_one_home(trees):
    """Elsewhere it would be what somebody has put in its place: of `time`, or among the functions of a module."""
    for name, tree in trees.items():
        attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        read = {n.attr for n in attributes if isinstance(n.value, ast.Name) and n.value.id == "time"}

        assert not read & {"monotonic", "perf_counter", "sleep"}, name


#: Documented, and private in name only.
PUBLIC = {"_asdict", "_replace"}


def private_uses(tree):
    """Find uses of private attributes: (what the object is called, attribute).

    An object is called as the last name in the expression says: `task` in `self.task._x` and in `task()._x`.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            thing, name = node.value, node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr", "delattr"):
            thing, constant = node.args[:2]
            name = constant.value if isinstance(constant, ast.Constant) else ""
        else:
            continue
        if name.startswith("_") and not name.startswith("__") and name not in PUBLIC:
            while isinstance(thing, ast.Call | ast.Subscript):
                thing = thing.func if isinstance(thing, ast.Call) else thing.value
            yield (thing.attr if isinstance(thing, ast.Attribute) else ast.unparse(thing)), name


def defined(tree):
    """Find the private attributes that the classes of a module have."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr
        elif isinstance(node, ast.ClassDef):
            for each in node.body:
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield each.name
                elif isinstance(each, ast.Assign | ast.AnnAssign):
                    yield from (ast.unparse(target) for target in getattr(each, "targets", None) or [each.target])


def test_private_attributes_of_others_are_listed_with_their_owner(trees):
    """What an object is called says whose it is: `self`'s, of a room of ours, or listed in _stock/private.py."""
    listed = {
        (called, name)
        for owner in virtualloop._stock.private.ATTRIBUTES.values()
        for called in owner.called
        for name in owner.attributes
    }
    own = {name for tree in trees.values() for name in defined(tree)}
    unlisted, unknown, used, reaches = set(), set(), set(), set()
    for module, tree in trees.items():
        if module == "pytest_plugin._internals":
            continue  # what is used of pytest's insides, all of it
        room = module.partition(".")[0]
        for called, name in private_uses(tree):
            used.add((called, name))
            if (called, name) in listed:
                continue
            if called in ("self", "cls", "super"):
                if name not in own:
                    unlisted.add((module, f"{called}.{name}"))
            elif called not in OURS:
                unlisted.add((module, f"{called}.{name}"))
            elif name not in own:
                unknown.add((module, f"{called}.{name}"))
            elif (OURS[called] or room) != room:
                reaches.add((module, f"{called}.{name}"))

    assert not unlisted, (
        "say in ATTRIBUTES of _stock/private.py whose it is and why it is used, or in OURS that it is ours"
    )
    assert not unknown, "OURS says that it is ours, and no class of ours has it"
    assert not reaches, "nobody reaches into another room"
    assert set(OURS) <= {called for called, _ in used}
    for kind, owner in virtualloop._stock.private.ATTRIBUTES.items():
        assert [
            name for name in owner.attributes if not any((called, name) in used for called in owner.called)
        ] == [], kind
        assert [c for c in owner.called if not any((c, name) in used for name in owner.attributes)] == [], kind
        assert all(reason.strip() for reason in owner.attributes.values())


def test_no_private_name_is_imported(trees):
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]

                assert all(f"{node.module}.{each}".removeprefix("virtualloop.") in PATHS for each in private), name


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
        "always",
        "choose",
        "explore",
        "explored",
        "get_network",
        "ladder",
        "note",
        "plain",
        "run_until_idle",
        "sometimes",
        "until",
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
    assert set(virtualloop.histories.__all__) == {
        "UNKNOWN",
        "Call",
        "History",
        "Model",
        "UndecidedWarning",
        "counter",
        "key_value",
        "lock",
        "queue",
        "register",
        "set_of_items",
    }
    assert set(virtualloop.properties.__all__) == {"PropertyError", "always", "sometimes", "until"}
    extra = set(dir(virtualloop.VirtualLoop)) - set(dir(__import__("asyncio").BaseEventLoop))
    assert {name for name in extra if not name.startswith("_")} == {
        "advance",
        "describe_tasks",
        "network",
        "next_deadline",
        "order",
        "run_until_idle",
        "seed",
        "until",
        "slow_callback_duration",  # asyncio's loops have it, too, set in their __init__
    } & extra


def test_an_error_is_printed_by_the_name_it_is_imported_by():
    modules = [virtualloop, *(getattr(virtualloop, name) for name in virtualloop._MODULES)]
    errors = [
        (module, name)
        for module in modules
        for name in module.__all__
        if inspect.isclass(value := getattr(module, name)) and issubclass(value, Exception)
    ]
    assert len(errors) >= 7
    assert [getattr(module, name).__module__ for module, name in errors] == [module.__name__ for module, _ in errors]
    unnamed = {value for value in vars(_errors).values() if isinstance(value, type)} - {
        getattr(module, name) for module, name in errors
    }
    assert not unnamed


def test_every_module_says_what_it_owns(trees):
    for name, tree in trees.items():
        docstring = ast.get_docstring(tree)

        assert docstring, name
        if name not in ("__init__", "_stock.private"):
            assert "Owns" in docstring or "Owns" in docstring.replace("owns", "Owns"), name


def test_the_package_is_typed_and_says_its_version_once():
    assert (SRC / "py.typed").exists()
    pyproject = (ROOT / "pyproject.toml").read_text()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    version = re.search(r'^version = "(.+)"$', pyproject, re.MULTILINE)[1]

    assert f"## [{version}]" in changelog or "## [Unreleased]" in changelog


def test_nothing_heavy_is_imported():
    """What only reports, benchmarks or tests need is loaded when used."""
    code = "import asyncio, sys; before = set(sys.modules); from virtualloop import VirtualLoop"
    code += "; print(*sorted(set(sys.modules) - before))"
    new = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()

    assert not {"virtualloop.trace", "virtualloop._core.recorder", "virtualloop.trace._history"} & set(new)
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
