// Unix sockets between a daemon and the commands of the same user.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

/// Whether `path` is a directory of our own that nobody else can enter; links are not followed.
/// EPERM when it is not. In a directory with the sticky bit (/tmp) that stays so.
Status check_private_directory(const std::string& path);
/// Makes `path` (0700) unless it is there, and checks it so.
Status make_private_directory(const std::string& path);

/// Listens at `path` (mode 0600). EADDRINUSE when something is there; ENAMETOOLONG over 107 bytes.
Result<UniqueFd> listen_at(const std::string& path);
/// ECONNREFUSED: nobody listens there any more.
Result<UniqueFd> connect_to(const std::string& path);

/// A descriptor of the process that listens at the other end (pidfd_open(2)), for wait_for_end().
/// Errors: ESRCH it has ended, or lives in a pid namespace that we do not see into; ENOSYS.
Result<UniqueFd> listening_process(BorrowedFd connection);
/// Waits until that process has ended, and has let go of all that it had open; at most
/// `timeout_ms`, where that is not negative.
void wait_for_end(BorrowedFd process, int timeout_ms);

struct Peer {
  UniqueFd connection;
  uid_t uid = 0;
  pid_t pid = 0;
};
/// Waits for a connection, or for `stop` (an eventfd) to be signalled: then ECANCELED.
Result<Peer> accept_peer(BorrowedFd listener, BorrowedFd stop);

/// Reads up to and without the next newline. EMSGSIZE beyond `most_bytes`, ETIMEDOUT when the other
/// side takes longer than `timeout_ms`, ECONNRESET when it ends before.
Result<std::string> read_line(BorrowedFd connection, std::size_t most_bytes, int timeout_ms);
/// Writes all, within `timeout_ms`. No SIGPIPE: EPIPE.
Status write_all(BorrowedFd connection, std::string_view text, int timeout_ms);

/// Names in a directory; empty when it cannot be read.
std::vector<std::string> names_in(const std::string& directory);
Status remove_path(const std::string& path);

}  // namespace plyfs::sys
