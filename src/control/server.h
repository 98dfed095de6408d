// The control channel of a live mount: a socket that its own user may ask (docs/design/control.md).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "control/protocol.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::control {

/// Listens in a thread of its own, which sleeps until somebody asks. One caller at a time; a
/// slow one is cut off after two seconds. Callers other than our user and root are refused. Nobody
/// gets an answer once `mounted` says no: the connection is closed, as if the daemon had ended.
class Server {
 public:
  /// Errors: no directory that is ours alone, no socket. The mount can live without.
  static Result<std::unique_ptr<Server>> start(const std::string& mountpoint, Handlers handlers,
                                               std::function<bool()> mounted);
  /// Stops the thread and removes the socket.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  Server(std::string path, sys::UniqueFd listener, sys::UniqueFd stop, Handlers handlers,
         std::function<bool()> mounted);
  void serve();
  void answer(sys::BorrowedFd connection);

  const std::string path_;
  const sys::UniqueFd listener_;
  const sys::UniqueFd stop_;
  const Handlers handlers_;
  const std::function<bool()> mounted_;
  std::thread thread_;
};

}  // namespace plyfs::control
