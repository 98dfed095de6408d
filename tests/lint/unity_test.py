#!/usr/bin/env python3
"""Names of a room's anonymous namespaces are unique, so that its files compile as one, too.

The sanitizer builds of tools/check put all files of a room into one translation unit, which halves
the time they take. Two helpers of one name in one room confuse readers as well as that compiler: give
them different names, or share one.
"""

import collections
import os
import re

import sources

DECLARATION = re.compile(
    r"""(?:(?:struct|class|union|enum\ class|enum)\s+(?P<type>\w+)\b(?!.*\()
        | .*?\b(?P<function>[a-z]\w*)\(
        | .*?\b(?P<variable>\w+)(?:\[[^]]*\])*\s*(?:=|\{|;)
        )""",
    re.X,
)
# Declares nothing, or what may be declared again.
NO_NAME = re.compile(r"[\s}#)]|using |namespace |template|static_assert\(|extern |$")


def rooms():
    """room: its .cpp files. What lies directly in src/ is compiled as one, too."""
    found = collections.defaultdict(list)
    for path in sources.find(".cpp"):
        if path.startswith("src/"):
            found[os.path.dirname(path)].append(path)
    return found


def hidden_names(text):
    """(line number, name) of what the anonymous namespaces of a formatted file declare."""
    inside = False
    for number, line in enumerate(sources.without_comments_and_strings(text).splitlines(), 1):
        if line.startswith("namespace {"):
            inside = True
        elif inside and line.rstrip() == "}" and text.splitlines()[number - 1] == "}  // namespace":
            inside = False
        elif inside and not NO_NAME.match(line):
            match = DECLARATION.match(line)
            if match:
                yield number, match["type"] or match["function"] or match["variable"]


def problems(paths):
    first = {}
    for path in paths:
        for number, name in hidden_names(sources.read(path)):
            if first.setdefault(name, path) != path:
                yield f"{path}:{number}: {name} is also a name in {first[name]}"


def main():
    report = sources.Report()
    for paths in rooms().values():
        report.check(problems(paths))
    report.finish()


if __name__ == "__main__":
    main()
