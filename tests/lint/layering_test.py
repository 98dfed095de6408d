#!/usr/bin/env python3
"""The include rule between rooms (src/ARCHITECTURE.md), and who alone may use what."""

import os
import re

import sources

# room: what it may include besides itself, include/plyfs/ and the standard library.
MAY_INCLUDE = {
    "base": [],  # values, locks, log: knows nobody
    "sys": ["base"],  # the only room with system calls; knows nothing of layers
    "layer": ["base", "sys"],  # one layer and its formats; the only door to the upper
    "merge": ["base", "layer"],  # rules over several layers
    "copyup": ["base", "sys", "layer"],  # moves bytes, hence sys; must not know the merged view
    "node": ["base", "layer", "merge"],  # identity
    "ops": ["base", "layer", "merge", "copyup", "node"],  # POSIX verbs; no FUSE
    "volume": ["base", "sys"],  # directories and files of the host; knows nothing of layers
    "fuse": ["base", "ops", "volume"],  # translates libfuse to verbs; must not reach around them
    "config": ["base", "sys"],  # text to options; sys for probing the machine
    "dump": ["base", "layer", "merge"],  # prints stacks; never through ops, which may change them
    "fill": ["base", "sys", "ops"],  # from the merged tree into a volume, before the mount answers
    "store": ["base", "sys", "config"],  # volumes and named mounts on the host
    "tar": ["base", "sys"],  # directories of the host to and from tars; knows nothing of layers
    # Trees written elsewhere: changes, tars, directories. Reads like dump, writes by layer's door.
    "image": ["base", "sys", "layer", "merge", "copyup", "dump", "tar"],
    # Images: archives of unknown origin into the store's layers, and back.
    "oci": ["base", "sys", "layer", "config", "store", "tar", "dump", "image"],
    "control": ["base", "sys"],  # the socket of a live mount, and the asking side
    # What the programs do besides mounting: arguments in, reports out.
    "commands": ["base", "sys", "config", "store", "dump", "image", "tar", "oci", "control"],
    # A program in the union: namespaces, its mounts, its terminal. The union itself by plyfs/mount.h.
    "run": ["base", "sys", "layer", "config", "store"],
    "include": [],  # the public face shows no room
    # programs; sys to become a daemon, to ask the host
    "tools": ["base", "sys", "config", "store", "commands", "run"],
}

# The composition root builds every object, so it alone sees every room.
COMPOSITION_ROOT = {
    "src/mount.cpp",
    "src/mount_report.cpp",
    "src/mount_report.h",
    "src/mount_volumes.cpp",
    "src/mount_volumes.h",
}

# room: the headers of sys that it may include beyond the table, each for a reason.
SINGLE_HEADERS = {
    # Questions that change nothing, and the cache of the descriptors that they are asked through.
    "merge": {
        "sys/dir_stream.h",
        "sys/fd_slots.h",
        "sys/object_stat.h",
        "sys/open.h",
        "sys/unique_fd.h",
    },
    # Opening layers, listing and reading them.
    "dump": {
        "sys/dir_stream.h",
        "sys/fd_cache.h",
        "sys/file_io.h",
        "sys/layer_root.h",
        "sys/limits.h",
        "sys/object_stat.h",
        "sys/open.h",
        "sys/unique_fd.h",
    },
    # A node keeps its directories open; what it opens it only hands on.
    "node": {"sys/fd_slots.h", "sys/open.h", "sys/owner_access.h", "sys/unique_fd.h"},
    # What a verb does to an object that is open or in the upper already: read, write, attributes.
    # Names, new objects and xattrs of the upper go through layer (CONFINED_CALLS below).
    "ops": {
        "sys/creds.h",  # a new object belongs to the caller
        "sys/dir_ops.h",  # the flags of rename
        "sys/fd_cache.h",
        "sys/file_io.h",
        "sys/object_stat.h",
        "sys/object_xattr.h",
        "sys/open.h",
        "sys/owner_access.h",
        "sys/owner_access.h",  # an upper file of ours may have a mode that shuts us out
        "sys/unique_fd.h",
    },
    # The session loop reads /dev/fuse; each worker has a umask and processors of its own.
    "fuse": {
        "sys/creds.h",
        "sys/fd_cache.h",  # what ops lends, to be lent to the kernel
        "sys/fuse_device.h",
        "sys/backing_device.h",
        "sys/fuse_ring.h",
        "sys/object_stat.h",  # how far a spliced READ goes
        "sys/open.h",
        "sys/page_pipe.h",
        "sys/scheduling.h",
        "sys/unique_fd.h",
    },
}

SYSTEM_CALL_HOME = ["src/sys/"]
LIBFUSE_HOME = ["src/fuse/"]

# header: the only places that may include it (folders end in /; others are path prefixes).
CONFINED_HEADERS = {
    # One room can follow libfuse's changes.
    **dict.fromkeys(
        ["fuse_lowlevel.h", "fuse3/fuse_lowlevel.h", "fuse.h", "fuse3/fuse.h", "fuse_common.h"],
        LIBFUSE_HOME,
    ),
    "linux/fuse.h": LIBFUSE_HOME
    # The number of one ioctl; the messages in the rings.
    + ["src/sys/fuse_device.cpp", "src/sys/fuse_ring.cpp"],
    # Structs and numbers that libfuse's own interface is made of.
    **dict.fromkeys(["linux/fs.h", "sys/statvfs.h"], SYSTEM_CALL_HOME + LIBFUSE_HOME),
    # One room makes system calls, so one room can be faked, traced and audited.
    **dict.fromkeys(
        """unistd.h fcntl.h dirent.h poll.h sched.h grp.h pwd.h mntent.h ftw.h utime.h
        sys/acl.h sys/capability.h sys/epoll.h sys/eventfd.h sys/file.h sys/fsuid.h sys/inotify.h
        sys/ioctl.h sys/mman.h sys/mount.h sys/prctl.h sys/resource.h sys/sendfile.h sys/signalfd.h
        sys/socket.h sys/stat.h sys/statfs.h sys/syscall.h sys/uio.h sys/un.h sys/vfs.h sys/wait.h
        sys/xattr.h""".split(),
        SYSTEM_CALL_HOME,
    ),
    "xxhash.h": ["src/base/hash."],
}
CONFINED_PREFIXES = {"spdlog/": ["src/base/log."], "openssl/": ["src/image/sha256."]}

# Calls, as they are written in code: who may make them, and what the rule is.
CONFINED_CALLS = [
    (
        # malloc_trim asks the allocator, not the kernel.
        re.compile(r"(?<![\w>])::(?!malloc_trim\b)[a-z]\w*\s*\("),
        SYSTEM_CALL_HOME,
        "system calls are made in src/sys/",
    ),
    (
        re.compile(
            r"\bsys::(?:make_(?:directory|node|symlink|link)|create_\w+|unlink_file"
            r"|remove_directory|rename_entry|set_xattr|remove_xattr)\s*\("
        ),
        # The composition root makes the work directory, which layer then takes over.
        # A volume has no layers: there it is the host's own names that change. So it is in the store
        # of images, whose layers are nobody's upper.
        SYSTEM_CALL_HOME
        + ["src/layer/", "src/volume/", "src/fill/", "src/tar/", "src/oci/", *COMPOSITION_ROOT],
        "names, new objects and xattrs of the upper are changed in src/layer/",
    ),
]

# These are outside the house and may use what they like, but programs leave libfuse alone.
FREE = ("tests/", "bench/")
FREE_OF_SYSTEM_CALL_RULE = ("tools/",)

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
    if other in MAY_INCLUDE[room] or target in SINGLE_HEADERS.get(room, ()):
        return None
    may = MAY_INCLUDE[room] + sorted(SINGLE_HEADERS.get(room, ()))
    return f"room '{room}' may include only {', '.join(may) or 'itself'}"


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
    if SYSTEM_CALL_HOME[0] in places and path.startswith(FREE_OF_SYSTEM_CALL_RULE):
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


def call_problems(path, text):
    if not path.startswith(("src/", "include/")):
        return
    code = sources.without_comments_and_strings(text)
    for pattern, places, rule in CONFINED_CALLS:
        for match in pattern.finditer(code) if not allowed(path, places) else ():
            line = code.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: {match[0].rstrip('( ')}: {rule}"


def main():
    report = sources.Report()
    for path in sources.find(".h", ".cpp"):
        text = sources.read(path)
        report.check(include_problems(path, text))
        report.check(call_problems(path, text))
        report.check(string_problems(path, text))
    report.finish()


if __name__ == "__main__":
    main()
