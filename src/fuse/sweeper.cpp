#include "fuse/sweeper.h"

#include <chrono>
#include <new>

#include "fuse/raw_request.h"
#include "fuse/serve.h"
#include "sys/creds.h"
#include "sys/fuse_device.h"

namespace plyfs::fuse {
namespace {

constexpr std::chrono::seconds kInterval{2};

}  // namespace

Sweeper::Sweeper(Dispatcher& dispatcher, sys::BorrowedFd device)
    : dispatcher_(dispatcher), device_(device) {
  const sys::BlockSignals blocked;
  thread_ = std::thread{[this] { work(); }};
}

Sweeper::~Sweeper() {
  {
    const std::lock_guard lock{mu_};
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Sweeper::sweep() {
  for (const volume::GoneName& gone : dispatcher_.volumes->find_gone()) {
    // ENOENT: the kernel has no such entry any more.
    (void)fuse_lowlevel_notify_inval_entry(dispatcher_.session, id_of(dispatcher_, *gone.parent),
                                           gone.name.data(), gone.name.size());
  }
}

void Sweeper::work() {
  sys::detach_thread_fs();
  reply_path().device = device_.get();
  std::unique_lock lock{mu_};
  while (!changed_.wait_for(lock, kInterval, [this] { return stopping_; })) {
    lock.unlock();
    try {
      sweep();
    } catch (const std::bad_alloc&) {
      report("looking for deleted files", "no memory; next time");
    }
    lock.lock();
  }
}

}  // namespace plyfs::fuse
