#!/usr/bin/env python3
"""A thread that answers requests never waits for a caller (src/node/locks.h).

The caller of a request may hold locks of its own task until the answer comes: execve(2) closes
files, and so writes them back, under the lock that readers of its /proc wait for. So what such
threads run asks nothing about other processes.
"""

import re

import sources

# What threads that answer requests run. The other rooms of src/ serve commands.
ANSWERING_ROOMS = ("base", "copyup", "fuse", "layer", "merge", "node", "ops", "sys", "volume")

# file: why it may name /proc nevertheless.
OWN_PROC = {
    "src/layer/lifted_modes.cpp": "our own descriptors",
    "src/sys/creds.cpp": "the map of our own user namespace",
    "src/sys/daemon.cpp": "our own descriptors, before there is a mount",
    "src/sys/durable_file.cpp": "commands only",
    "src/sys/host_check.cpp": "commands only: our own namespaces",
    "src/sys/process_facts.cpp": "the control channel's thread: this process",
    "src/sys/proc_path.h": "our own descriptors",
    "src/sys/scheduling.cpp": "our own thread's delay, and the machine's load",
    "src/sys/unmount.cpp": "our own mounts: commands, and the thread that ends the mount",
}

# /proc/PID of anybody, however it is put together.
OTHERS_PROC = re.compile(r'"/proc/(?!self/|thread-self/|loadavg|sys/)')
CALLERS_PID = re.compile(r"(?:\.|->)pid\b")
# file: what it does with a caller's pid. None passes it to the system but for NEVER_WAITS.
KNOWS_PID = {"src/fuse/session.cpp": "tells callers apart"}
# What commands and threads that serve no request do.
NOT_ANSWERING = ("src/sys/sandbox/", "src/sys/local_socket.cpp", "src/sys/lock_holders.cpp", "src/sys/mount_table.cpp")
# file: what it asks of other threads although it serves requests, and why that never waits.
NEVER_WAITS = {"src/sys/scheduling.cpp": "sched_getaffinity(2) takes spin locks only"}
ASKS_OTHERS = re.compile(
    r"\b(?:ptrace|process_vm_(?:read|write)v|pidfd_open|kcmp|get_robust_list|move_pages)\s*\("
    r"|\bSYS_(?:kcmp|pidfd_open|process_vm_readv|process_vm_writev|get_robust_list)\b"
    r"|\bsched_getaffinity\s*\(\s*(?!\s|0\b)"
    r"|\bSYS_sched_getaffinity\s*,\s*(?!\s|0\b)"
)


def problems(path, text):
    room = path.split("/")[1] if path.startswith("src/") else None
    if room not in ANSWERING_ROOMS or path.startswith(NOT_ANSWERING):
        return
    code = sources.without_comments(text)
    bare = sources.without_comments_and_strings(text)
    for number, (line, plain) in enumerate(zip(code.split("\n"), bare.split("\n")), 1):
        if '"/proc' in line and path not in OWN_PROC:
            yield f"{path}:{number}: /proc; a thread that answers requests waits for no caller"
        if OTHERS_PROC.search(line):
            yield f"{path}:{number}: /proc of another process, which may wait for its locks"
        if CALLERS_PID.search(plain) and path not in KNOWS_PID:
            yield f"{path}:{number}: a caller's pid; nobody here may ask the system about it"
        if ASKS_OTHERS.search(plain) and path not in NEVER_WAITS:
            yield f"{path}:{number}: asks about another process, which may wait for its locks"


def main():
    report = sources.Report()
    for path in sources.find(".h", ".cpp"):
        report.check(problems(path, sources.read(path)))
    report.finish()


if __name__ == "__main__":
    main()
