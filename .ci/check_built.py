"""Check what was built: the wheel has the package and nothing else; the sdist has what it takes to test it, too."""

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: What the sdist has besides these folders.
FILES = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}
FOLDERS = ("src", "tests", "examples", "benchmarks")
#: What a wheel says of itself.
METADATA = {"METADATA", "RECORD", "WHEEL", "licenses/LICENSE"}


def files_in(*folders: str) -> set[str]:
    """Return the files of the project's folders, but for what Python leaves beside them."""
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in paths if path.suffix != ".pyc"}


def main(folder: Path) -> None:
    """Compare the files in the wheel and in the sdist with those of the project."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = any("entry_points.txt" in name for name in names)
    info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
    expected = {path.removeprefix("src/") for path in files_in("src")}
    expected |= {f"{info}/{name}" for name in METADATA | ({"entry_points.txt"} if entry_points else set())}
    if names != expected:
        sys.exit(f"{wheel.name}: missing {sorted(expected - names)}, too much {sorted(names - expected)}")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    expected = files_in(*FOLDERS) | FILES
    if names != expected:
        sys.exit(f"{sdist.name}: missing {sorted(expected - names)}, too much {sorted(names - expected)}")
    if "virtualloop/py.typed" not in {path.removeprefix("src/") for path in files_in("src")}:
        sys.exit("py.typed is missing: the package says that it is typed")
    print(f"{wheel.name}, {sdist.name}: as they should be")


main(Path(sys.argv[1]))
