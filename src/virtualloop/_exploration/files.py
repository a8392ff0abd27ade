"""Failures as files, for whoever looks at them later: in CI, or on another machine.

Owns the names of these files and what is in them: the story, the whole trace, where it parts from the nearest run that
passes; the same as a page; and an index of all. Tells nothing itself.
"""

from __future__ import annotations

import hashlib
import html
import os
import re
from pathlib import Path
from urllib.parse import quote

from virtualloop._exploration.story import Story, current_test
from virtualloop.schedules._token import decode
from virtualloop.trace._trace import page_of

__all__ = ["REPORT_VARIABLE", "write"]

#: A folder to write each failure into, as text and as HTML.
REPORT_VARIABLE = "VIRTUALLOOP_REPORT_DIR"

#: Names of files have so many characters of the test's name at most: systems take 255, in bytes.
MAX_NAME = 60
#: And so many that tell failures with one name apart, of one test with other parameters as well as of two of its runs.
DIGEST = 8
#: A text begins with the test, what it failed with, and its story, each after an empty line.
SEPARATOR = "\n\n"

INDEX = "index.html"

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 14px/1.5 ui-sans-serif, system-ui, sans-serif; margin: 24px auto; max-width: 1100px; padding: 0 16px; }}
h1 {{ font-size: 18px; }}
ul {{ list-style: none; padding: 0; }}
li {{ border: 1px solid color-mix(in srgb, currentColor 18%, transparent); border-radius: 8px; padding: 10px 14px; margin: 10px 0; }}
li p {{ margin: 2px 0; overflow-wrap: anywhere; }}
.error {{ color: #c81e3a; }}
.claim {{ opacity: .75; }}
@media (prefers-color-scheme: dark) {{ .error {{ color: #ff6b81; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<ul>
{entries}</ul>
</body>
</html>
"""  # noqa: E501  # one rule a line

_ENTRY = """\
<li><p><a href="{page}"><b>{test}</b></a> (<a href="{text}">text</a>)</p>
<p class="error">{error}</p><p class="claim">{claim}</p></li>
"""


def write(story: Story, folder: Path) -> Path:
    """Write a failure into a folder, which is made if it is missing; return the path of the text."""
    folder.mkdir(parents=True, exist_ok=True)
    test = current_test() or story.program
    told = story.tell()
    # A test has as many names as parameters, and a failure one token, but for the day on which it was found.
    run = decode(story.token)._replace(epoch=None)
    digest = hashlib.blake2b(f"{test} {run}".encode(errors="replace"), digest_size=DIGEST // 2).hexdigest()
    name = re.sub(r"[^\w.-]+", "_", test)[-MAX_NAME:].lstrip("_.-")
    parts = [test, story.exception, told, str(story.trace)]
    if story.passing is not None:
        parts.append("Compared with the nearest run that passes:\n" + story.trace.diff(story.passing))
    if story.tasks:
        parts.append(story.tasks)
    path = folder / f"{name}-{digest}.txt"
    _put(path, SEPARATOR.join(parts) + "\n")
    title = f"{test}: {story.exception.partition(chr(10))[0]}"
    _put(path.with_suffix(".html"), page_of(story.trace, title=title, report=told, replay=story.replay_command()))
    _put(folder / INDEX, _index(folder))
    return path


def _index(folder: Path) -> str:
    """Return a page with all failures that are in a folder, whichever process has put them there."""
    entries = []
    for path in sorted(folder.glob("*.txt")):
        test, error, story, *_ = [*path.read_text(encoding="utf-8", errors="replace").split(SEPARATOR, 3), "", ""]
        if not story.startswith("virtualloop: "):
            continue  # It is none of ours.
        shown = {
            "page": quote(path.with_suffix(".html").name),
            "text": quote(path.name),
            "test": html.escape(test),
            "error": html.escape(error.partition("\n")[0]),
            "claim": html.escape(" ".join(story.splitlines()[:2]).removeprefix("virtualloop: ")),
        }
        entries.append(_ENTRY.format(**shown))
    title = f"{len(entries)} failure{'' if len(entries) == 1 else 's'} of explored programs"
    return _PAGE.format(title=title, entries="".join(entries))


def _put(path: Path, text: str) -> None:
    """Write a file, so that whoever reads it meanwhile has the old one or the new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    temporary.replace(path)
