#include "commands/output.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "sys/terminal.h"

namespace plyfs::commands {
namespace {

bool reader_is_gone = false;

}  // namespace

bool write_out(std::string_view text) {
  errno = 0;
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  reader_is_gone = reader_is_gone || (!written && errno == EPIPE);
  return written;
}

int finish_out(std::string_view program, int exit_code) {
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  const int error = errno;
  reader_is_gone = reader_is_gone || (!flushed && error == EPIPE);
  if ((flushed && std::ferror(stdout) == 0) || reader_is_gone) {
    return exit_code;
  }
  return complain(program,
                  {"cannot write the output: stdout: " + Errno{error == 0 ? EIO : error}.message() +
                       "; free some space or write elsewhere",
                   2});
}

int complain(std::string_view program, const Failure& failure) {
  (void)std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(program.size()), program.data(),
                     failure.what.c_str());
  return failure.exit_code;
}

bool may_colour() {
  return std::getenv("NO_COLOR") == nullptr && sys::is_terminal(sys::BorrowedFd{1});
}

}  // namespace plyfs::commands
