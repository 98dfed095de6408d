// The process that serves a run's root directory, and tidies up after it.
#pragma once

#include "run/options.h"
#include "store/home.h"
#include "sys/sandbox/link.h"
#include "sys/sandbox/program.h"
#include "sys/sandbox/user_namespace.h"

namespace plyfs::run {

/// What the front settled before it made us.
struct ServerTask {
  const RunOptions& options;
  const store::Home& home;
  const sys::sandbox::IdMaps& ids;
  sys::sandbox::Terminal terminal;
  int front_pid;
};

/// In a process of its own, with one thread: makes the namespaces and the root directory, starts
/// the process that keeps the program, serves until all that is in there has ended, and removes
/// what was made for it. Tells the front of failures. It ends by itself, whatever becomes of the
/// front.
void serve_run(const ServerTask& task, const sys::sandbox::Link& front);

}  // namespace plyfs::run
