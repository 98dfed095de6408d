// The public face of a mount: build it from options, run it, stop it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "plyfs/options.h"
#include "plyfs/result.h"

namespace plyfs {

/// A failure that a person can act on. `what` is one line: "<what failed>: <path or option>:
/// <strerror>; <remedy>", without the "plyfs: " prefix.
struct Failure {
  std::string what;
  int exit_code = 32;  ///< 1 wrong usage, 2 system error, 32 mount failed (mount(8))
};

/// How the volumes of a mount are shown, and why; for people. kAuto: the mount has none.
struct VolumeReport {
  VolumeMode mode = VolumeMode::kAuto;
  std::string why;
};

/// A mounted (or mountable) filesystem. Several may live in one process.
/// Thread-safe: stop() only. Owned by one thread otherwise.
class Mount {
 public:
  /// Opens the layers, probes what they can do, prepares the work directory. Mounts nothing;
  /// on failure nothing is left behind. Returns null and fills `failure` on error.
  static std::unique_ptr<Mount> make(const MountOptions& options, Failure& failure);

  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;
  ~Mount();

  /// Mounts at options.mountpoint and serves until unmounted or stop(). Calls `ready` once, from a
  /// worker thread or this one, when the mount answers requests; `ready` is not called on failure.
  /// Returns false and fills `failure` when mounting failed.
  bool run(const std::function<void()>& ready, Failure& failure);

  /// Settled by make().
  [[nodiscard]] VolumeReport volume_report() const;

  /// Unmounts, and makes run() return when the last user has let go; called again, at once.
  /// Async-signal-safe; may be called from any thread.
  void stop();

 private:
  void open_control_channel();
  void learn_opens();
  struct Parts;
  explicit Mount(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace plyfs
