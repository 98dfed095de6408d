// The plyfs-dump command.
#include <csignal>
#include <cstdio>
#include <exception>

#include "commands/dump_command.h"
#include "sys/daemon.h"

int main(int argc, char** argv) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  constexpr int kSystemError = 2;
  if (!plyfs::sys::fill_standard_descriptors()) {
    return kSystemError;
  }
  try {
    return plyfs::commands::run_dump({argv, static_cast<std::size_t>(argc)});
  } catch (const std::exception& error) {  // memory, or a library
    (void)std::fprintf(stderr, "plyfs-dump: %s\n", error.what());
    return kSystemError;
  }
}
