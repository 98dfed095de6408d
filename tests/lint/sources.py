"""What the lint tests share: finding the sources, and telling code from comments and strings."""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TREES = ("include", "src", "tools", "bench", "tests")

# One alternative per kind of token that may hide text which looks like code.
TOKEN = re.compile(
    r"""//[^\n]*                              # line comment
      | /\*.*?\*/                             # block comment
      | R"(?P<tag>[^()\\\s]{0,16})\(.*?\)(?P=tag)"   # raw string
      | "(?:\\.|[^"\\\n])*"                   # string
      | (?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'   # character (not a digit separator)
    """,
    re.S | re.X,
)


def find(*suffixes):
    """Paths of the project's sources relative to ROOT, sorted."""
    found = []
    for tree in TREES:
        for directory, names, files in os.walk(os.path.join(ROOT, tree)):
            names[:] = [name for name in names if name not in ("__pycache__", "example-layers")]
            found += [os.path.join(directory, name) for name in files if name.endswith(suffixes)]
    return sorted(os.path.relpath(path, ROOT) for path in found)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def blank(text):
    """Spaces instead of `text`, lines kept, so that positions stay true."""
    return re.sub(r"[^\n]", " ", text)


def without_comments(text):
    return TOKEN.sub(lambda m: blank(m[0]) if m[0][0] == "/" else m[0], text)


def without_comments_and_strings(text):
    return TOKEN.sub(lambda m: blank(m[0]), text)


def strings(text):
    """(line number, literal) of every string literal outside comments."""
    for match in TOKEN.finditer(text):
        if match[0][0] in '"R':
            yield text.count("\n", 0, match.start()) + 1, match[0]


class Report:
    """Counts rules kept and broken, and prints the broken ones as file:line."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, problems):
        """One thing looked at: it passes if `problems` (lines of text) is empty."""
        problems = list(problems)
        for problem in problems:
            print(problem)
        if problems:
            self.failed += 1
        else:
            self.passed += 1

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed, 0 skipped")
        sys.exit(1 if self.failed else 0)
