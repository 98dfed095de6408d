#!/usr/bin/env python3
"""The size budget: a file or a function that outgrows it wants to be two."""

import re

import sources

MAX_FILE_LINES = 700
MAX_FUNCTION_LINES = 80  # the aim is 60; the test leaves room for one long table or switch

# Tests are lists of sections by nature; only their files have a budget.
FUNCTION_BUDGET_TREES = ("include/", "src/", "tools/", "bench/")

NOT_A_FUNCTION = re.compile(r"\b(namespace|class|struct|union|enum)\b|=\s*$|^\s*(extern\s*)?$")


def functions(text):
    """(first line, number of lines) of every function body that lies in no other function."""
    code = sources.without_comments_and_strings(text)
    code = re.sub(r"^[ \t]*#(?:.*\\\n)*.*$", lambda m: sources.blank(m[0]), code, flags=re.M)
    stack = []  # per open brace: the line its function begins on, or None
    header_start = 0
    for match in re.finditer(r"[{};]", code):
        if match[0] == "{":
            header = code[header_start : match.start()]
            inside = any(begin is not None for begin in stack)
            is_function = not inside and "(" in header and not NOT_A_FUNCTION.search(header)
            first = header_start + len(header) - len(header.lstrip())
            stack.append(code.count("\n", 0, first) + 1 if is_function else None)
        elif match[0] == "}" and stack:
            begin = stack.pop()
            if begin is not None:
                yield begin, code.count("\n", 0, match.start()) + 2 - begin
        header_start = match.end()


def problems(path, text):
    lines = text.count("\n")
    if lines > MAX_FILE_LINES:
        yield f"{path}:{lines}: {lines} lines; a file has at most {MAX_FILE_LINES}"
    if path.endswith((".h", ".cpp")) and path.startswith(FUNCTION_BUDGET_TREES):
        for begin, length in functions(text):
            if length > MAX_FUNCTION_LINES:
                yield f"{path}:{begin}: {length} lines; a function has at most {MAX_FUNCTION_LINES}"


def main():
    report = sources.Report()
    for path in sources.find(".h", ".cpp", ".py", ".sh"):
        report.check(problems(path, sources.read(path)))
    report.finish()


if __name__ == "__main__":
    main()
