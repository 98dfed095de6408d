#include "sys/local_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "sys/dir_stream.h"
#include "sys/open.h"

namespace plyfs::sys {
namespace {

struct Address {
  sockaddr_un raw{};
  socklen_t size = 0;
};

Result<Address> address_of(const std::string& path) {
  Address address;
  if (path.size() >= sizeof address.raw.sun_path) {
    return Errno{ENAMETOOLONG};
  }
  address.raw.sun_family = AF_UNIX;
  std::memcpy(address.raw.sun_path, path.c_str(), path.size() + 1);
  address.size = sizeof address.raw;
  return address;
}

std::int64_t now_ms() {
  timespec now{};
  (void)::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * std::int64_t{1000} + now.tv_nsec / 1000000;
}

/// Waits until the connection can be read or written.
Status await_events(BorrowedFd fd, short events, std::int64_t deadline_ms) {
  for (;;) {
    const std::int64_t left = deadline_ms - now_ms();
    pollfd waited{fd.get(), events, 0};
    const int ready = ::poll(&waited, 1, left > 0 ? static_cast<int>(left) : 0);
    if (ready > 0) {
      return {};
    }
    if (ready == 0) {
      return Errno{ETIMEDOUT};
    }
    if (errno != EINTR) {
      return Errno{errno};
    }
  }
}

/// Of the process that connected; at its own end, of the one that listened at that time.
Result<ucred> credentials_of(BorrowedFd connection) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return Errno{errno};
  }
  return credentials;
}

}  // namespace

Status make_private_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return Errno{errno};
  }
  return check_private_directory(path);
}

Status check_private_directory(const std::string& path) {
  struct ::stat found {};
  if (::lstat(path.c_str(), &found) != 0) {
    return Errno{errno};
  }
  if (!S_ISDIR(found.st_mode) || found.st_uid != ::geteuid() || (found.st_mode & 0077) != 0) {
    return Errno{EPERM};
  }
  return {};
}

Result<UniqueFd> listen_at(const std::string& path) {
  const Address address = TRY(address_of(path));
  UniqueFd listener{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (!listener.valid()) {
    return Errno{errno};
  }
  // The directory keeps others out; the mode of the socket is a second door.
  if (::bind(listener.borrow().get(), reinterpret_cast<const sockaddr*>(&address.raw),
             address.size) != 0) {
    return Errno{errno};
  }
  if (::chmod(path.c_str(), 0600) != 0 || ::listen(listener.borrow().get(), 8) != 0) {
    const int error = errno;
    (void)::unlink(path.c_str());
    return Errno{error};
  }
  return listener;
}

Result<UniqueFd> connect_to(const std::string& path) {
  const Address address = TRY(address_of(path));
  UniqueFd connection{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (!connection.valid() ||
      ::connect(connection.borrow().get(), reinterpret_cast<const sockaddr*>(&address.raw),
                address.size) != 0) {
    return Errno{errno};
  }
  return connection;
}

Result<UniqueFd> listening_process(BorrowedFd connection) {
  const ucred credentials = TRY(credentials_of(connection));
  if (credentials.pid == 0) {
    return Errno{ESRCH};
  }
  UniqueFd process{static_cast<int>(::syscall(SYS_pidfd_open, credentials.pid, 0))};
  if (!process.valid()) {
    return Errno{errno};
  }
  return process;
}

void wait_for_end(BorrowedFd process, int timeout_ms) {
  pollfd waited{process.get(), POLLIN, 0};
  while (::poll(&waited, 1, timeout_ms) < 0 && errno == EINTR) {
  }
}

Result<Peer> accept_peer(BorrowedFd listener, BorrowedFd stop) {
  for (;;) {
    pollfd waited[2] = {{listener.get(), POLLIN, 0}, {stop.get(), POLLIN, 0}};
    if (::poll(waited, 2, -1) < 0) {
      if (errno == EINTR) {
        continue;
      }
      return Errno{errno};
    }
    if (waited[1].revents != 0) {
      return Errno{ECANCELED};
    }
    Peer peer;
    peer.connection = UniqueFd{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    if (!peer.connection.valid()) {
      return Errno{errno};
    }
    const ucred credentials = TRY(credentials_of(peer.connection.borrow()));
    peer.uid = credentials.uid;
    peer.pid = credentials.pid;
    return peer;
  }
}

Result<std::string> read_line(BorrowedFd connection, std::size_t most_bytes, int timeout_ms) {
  const std::int64_t deadline = now_ms() + timeout_ms;
  std::string line;
  char buffer[4096];
  for (;;) {
    TRY(await_events(connection, POLLIN, deadline));
    const ssize_t got = ::recv(connection.get(), buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return Errno{got == 0 ? ECONNRESET : errno};
    }
    const std::string_view part{buffer, static_cast<std::size_t>(got)};
    const std::size_t end = part.find('\n');
    line += part.substr(0, end);
    if (line.size() > most_bytes) {
      return Errno{EMSGSIZE};
    }
    if (end != std::string_view::npos) {
      return line;
    }
  }
}

Status write_all(BorrowedFd connection, std::string_view text, int timeout_ms) {
  const std::int64_t deadline = now_ms() + timeout_ms;
  while (!text.empty()) {
    TRY(await_events(connection, POLLOUT, deadline));
    const ssize_t sent =
        ::send(connection.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EINTR && errno != EAGAIN) {
      return Errno{errno};
    }
    text.remove_prefix(sent > 0 ? static_cast<std::size_t>(sent) : 0);
  }
  return {};
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  const UniqueFd listing{
      ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
  if (listing.valid()) {
    (void)read_directory(listing.borrow(), [&](const RawEntry& entry) {
      names.emplace_back(entry.name, entry.name_size);
      return Visit::kContinue;
    });
  }
  std::sort(names.begin(), names.end());
  return names;
}

Status remove_path(const std::string& path) {
  return ::unlink(path.c_str()) == 0 ? Status{} : Status{Errno{errno}};
}

}  // namespace plyfs::sys
