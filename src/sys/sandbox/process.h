// Processes of a run, and their way into its namespaces.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "plyfs/result.h"
#include "sys/sandbox/step.h"
#include "sys/unique_fd.h"

namespace plyfs::sys::sandbox {

/// fork(2): 0 in the child.
Result<pid_t> fork_process();
/// The child is process 1 of a new pid namespace, with ipc, uts and cgroup namespaces, and a
/// network of its own if wanted. Call before threads exist.
Result<pid_t> fork_into_namespaces(bool own_network);
/// When the thread that made us ends, we do, at once. False when it has ended already.
bool end_with_parent(pid_t parent);
/// Signals from a terminal or a person do not end this process: what it does must be finished.
void ignore_signals();
/// For a program: what ignore_signals() and we ourselves changed is as the caller had it, nothing
/// is blocked.
void restore_signals();
/// Out of the group that a terminal, or who kills a whole job, reaches; and back into it, which
/// fails when nobody of it is there any more.
void leave_group();
Status return_to_group();
/// A session of our own, without the terminal.
void leave_session();
/// /dev/null over the three standard descriptors.
void drop_standard_descriptors();
/// Waits for a child; its status as waitpid(2) says, -1 where there is none.
int wait_for_child(pid_t child);
[[noreturn]] void end_process(int exit_code);
pid_t parent_id();

/// execvp(3), with the environment as it is. Comes back on failure only.
Errno replace_with(const std::vector<std::string>& command);

/// A process, as a descriptor that never comes to mean another.
Result<UniqueFd> open_process(pid_t pid);
/// Which pid namespace a process lives in: a number that the kernel gives no other while it lives.
Result<std::uint64_t> pid_namespace_of(pid_t pid);
/// Moves the calling process, which must have one thread, into all the namespaces of `process`, and
/// makes it root there; its children are in the pid namespace as well.
Step join_namespaces(BorrowedFd process);
/// Whether there is one id only in our user namespace.
bool has_one_id();

}  // namespace plyfs::sys::sandbox
