#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdio>
#include <deque>

#include "base/mutex.h"
#include "base/text.h"

namespace plyfs::log {
namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kTrace:
      return spdlog::level::trace;
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// The one process-wide object: a log has one stderr, however many mounts a process holds.
spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>("plyfs",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("plyfs: %l: %v");
    made->set_level(spdlog::level::warn);
    return made;
  }();
  return *instance;
}

/// A bounded number of messages, so that a layer that fails for ever costs no memory.
class Notes {
 public:
  void add(Level level, std::string_view message) {
    const MutexLock lock{mu_};
    if (!notes_.empty() && notes_.back().message == message) {
      ++notes_.back().times;
    } else {
      if (notes_.size() == kMost) {
        notes_.pop_front();
      }
      notes_.push_back({0, 1, level, std::string{message}});
    }
    notes_.back().last = std::time(nullptr);
  }
  std::vector<Noted> all() {
    const MutexLock lock{mu_};
    return {notes_.begin(), notes_.end()};
  }

 private:
  static constexpr std::size_t kMost = 50;
  Mutex mu_;
  std::deque<Noted> notes_ GUARDED_BY(mu_);
};

Notes& notes() {
  static Notes instance;
  return instance;
}

}  // namespace

std::vector<Noted> noted() { return notes().all(); }

void set_level(Level level) { logger().set_level(to_spdlog(level)); }

bool enabled(Level level) { return logger().should_log(to_spdlog(level)); }

void write(Level level, std::string_view message) noexcept {
  try {
    logger().log(to_spdlog(level), "{}", message);
    if (level >= Level::kWarning) {
      notes().add(level, message);
    }
  } catch (...) {
    // A log that cannot be written must not take the mount down.
  }
}

std::string printable(std::string_view bytes) { return escaped(bytes); }

}  // namespace plyfs::log
