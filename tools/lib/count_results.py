#!/usr/bin/env python3
"""count_results.py LOG EXIT_CODE: prints "PASSED FAILED SKIPPED" of one test program's output.

Understands a closing line "N passed, N failed, N skipped" (the last one counts) and, where there is
none, Catch2's own summary (versions 2 and 3) together with the lines "SKIPPED: reason" that the
tests print. A program that ends with an error, or without any summary, has at least one failure.
"""

import re
import sys

CLOSING = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped\s*$", re.M)
ALL_PASSED = re.compile(r"^All tests passed \(.*? in (\d+) test cases?\)", re.M)
TEST_CASES = re.compile(r"^test cases:\s*(\d+)(.*)$", re.M)
SKIPPED_LINE = re.compile(r"^SKIPPED: ", re.M)


def of_catch2(text):
    """Returns [passed, failed, skipped], or None without a summary. Catch2 2 knows no skips: a
    test that skipped counts as passed there and is moved over."""
    matches = TEST_CASES.findall(text)
    if matches:
        rest = matches[-1][1]
        count = lambda word: sum(int(n) for n in re.findall(r"(\d+) " + word, rest))
        passed, failed, skipped = count("passed"), count("failed\\b"), count("skipped")
    else:
        matches = ALL_PASSED.findall(text)
        if not matches:
            return None
        passed, failed, skipped = int(matches[-1]), 0, 0
    if skipped == 0:
        skipped = min(passed, len(SKIPPED_LINE.findall(text)))
        passed -= skipped
    return [passed, failed, skipped]


def main():
    path, exit_code = sys.argv[1], int(sys.argv[2])
    with open(path, encoding="utf-8", errors="replace") as log:
        text = log.read()
    closing = CLOSING.findall(text)
    counts = [int(n) for n in closing[-1]] if closing else of_catch2(text)
    if counts is None:
        counts = [0, 1, 0]
    if exit_code != 0 and counts[1] == 0:
        counts[1] = 1
    if sum(counts) == 0:
        counts[1] = 1  # a run that tested nothing proves nothing
    print(*counts)


if __name__ == "__main__":
    main()
