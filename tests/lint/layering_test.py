#!/usr/bin/env python3
"""The include rule between rooms (src/ARCHITECTURE.md), and who alone may use what."""

import os
import re

import sources

# room: what it may include besides itself, include/plyfs/ and the standard library.
MAY_INCLUDE = {
    "base": [],  # values, locks, log: knows nobody
    "sys": ["base"],  # the only room with system calls; knows nothing of layers
    "layer": ["base", "sys"],  # one layer and its formats
    "merge": ["base", "layer"],  # rules over several layers; asks layers, never the kernel
    "copyup": ["base", "sys", "layer"],  # moves bytes, hence sys; must not know the merged view
    "node": ["base", "sys", "layer", "merge"],  # identity; holds file handles, hence sys
    "ops": ["base", "layer", "merge", "copyup", "node"],  # POSIX verbs; no FUSE, no system calls
    "fuse": ["base", "ops"],  # translates libfuse to ops; must not reach around it
    "config": ["base", "sys"],  # text to options; sys for probing the machine
    "dump": ["base", "layer", "merge"],  # prints stacks; never through ops, which may change them
    "include": [],  # the public face shows no room
    "tools": ["base", "sys", "config", "dump"],  # programs; sys to become a daemon, to ask the host
}

# The composition root builds every object, so it alone sees every room.
COMPOSITION_ROOT = {"src/mount.cpp"}

# room: single headers allowed beyond the table, because they carry values and no behaviour.
VALUE_HEADERS = {
    "ops": ["sys/unique_fd.h"],  # hands open files on; opens none
    "fuse": ["sys/unique_fd.h"],
}

# header: the only places that may include it (folders end in /; others are path prefixes).
CONFINED_HEADERS = {
    **dict.fromkeys(
        ["fuse_lowlevel.h", "fuse3/fuse_lowlevel.h", "fuse.h", "fuse3/fuse.h", "fuse_common.h"],
        ["src/fuse/"],  # one room can follow libfuse's changes
    ),
    **dict.fromkeys(
        ["unistd.h", "fcntl.h", "dirent.h", "sys/xattr.h", "sys/stat.h", "sys/mount.h"],
        ["src/sys/"],  # one room makes system calls, so one room can be faked, traced and audited
    ),
    "xxhash.h": ["src/base/hash."],
}
CONFINED_PREFIXES = {"spdlog/": ["src/base/log."]}

# These are outside the house and may use what they like, but programs leave libfuse alone.
FREE = ("tests/", "bench/")
FREE_OF_SYSTEM_CALL_RULE = ("tools/",)
SYSTEM_CALL_HOME = ["src/sys/"]

# On-disk words appear once, so that a format is read and written by the same table.
CONFINED_STRINGS = {
    re.compile(r'^(R"[^(]*\(|")\.wh\.'): ["src/layer/format."],
    re.compile(r"\boverlay\."): ["src/layer/format."],
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"]+)[>"]', re.M)


def room_of(path):
    """The room of a source file, or None for those that may include anything."""
    parts = path.split("/")
    if path in COMPOSITION_ROOT or parts[0] in ("tests", "bench"):
        return None
    if parts[0] == "src":
        return parts[1] if len(parts) > 2 else "src"
    return parts[0]


def allowed(path, places):
    return any(path.startswith(place) for place in places)


def room_problem(path, target):
    """Why `path` may not include the project header `target`; None if it may."""
    room = room_of(path)
    if room is None:
        return None
    if "/" not in target:
        neighbour = os.path.join(os.path.dirname(path), target)
        return None if os.path.exists(os.path.join(sources.ROOT, neighbour)) else "no such header"
    if target.startswith("../") or "/../" in target:
        return "climbs out of its room; name the room instead"
    other = target.split("/")[0]
    if other in ("plyfs", room):
        return None
    if other not in MAY_INCLUDE:
        return f"'{other}' is not a room (third-party headers go in <>)"
    if room not in MAY_INCLUDE:
        return f"no rule for '{room}': add it to MAY_INCLUDE or to COMPOSITION_ROOT"
    if other in MAY_INCLUDE[room] or target in VALUE_HEADERS.get(room, []):
        return None
    return f"room '{room}' may include only {', '.join(MAY_INCLUDE[room]) or 'itself'}"


def confined_problem(path, target):
    """Why `path` may not include the system or library header `target`; None if it may."""
    if path.startswith(FREE):
        return None
    places = CONFINED_HEADERS.get(target)
    for prefix, homes in CONFINED_PREFIXES.items():
        if target.startswith(prefix):
            places = homes
    if places is None or allowed(path, places):
        return None
    if places == SYSTEM_CALL_HOME and path.startswith(FREE_OF_SYSTEM_CALL_RULE):
        return None
    return f"only {', '.join(places)} may"


def include_problems(path, text):
    for match in INCLUDE.finditer(sources.without_comments(text)):
        bracket, target = match.groups()
        line = text.count("\n", 0, match.start(1)) + 1
        reason = confined_problem(path, target)
        if reason is None and bracket == '"':
            reason = room_problem(path, target)
        if reason is not None:
            yield f"{path}:{line}: includes {target}: {reason}"


def string_problems(path, text):
    if not path.startswith(("src/", "include/")):
        return
    for line, literal in sources.strings(text):
        for pattern, places in CONFINED_STRINGS.items():
            if pattern.search(literal) and not allowed(path, places):
                yield f"{path}:{line}: {literal}: on-disk words belong in {places[0]}*"


def main():
    report = sources.Report()
    for path in sources.find(".h", ".cpp"):
        text = sources.read(path)
        report.check(include_problems(path, text))
        report.check(string_problems(path, text))
    report.finish()


if __name__ == "__main__":
    main()
