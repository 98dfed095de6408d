#include "side.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace plyfs::difftest {
namespace {

void require(int result, const char* what) {
  if (result >= 0) return;
  std::perror(what);
  std::_Exit(3);
}

}  // namespace

Host::Host()
    : root_(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)),
      own_descriptors_(::open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC)) {
  require(root_, "open /");
  require(own_descriptors_, "open /proc/self/fd");
}

Host::~Host() {
  ::close(root_);
  ::close(own_descriptors_);
}

void Host::enter() const {
  require(::fchdir(root_), "fchdir to the host's root");
  require(::chroot("."), "chroot to the host's root");
}

int Side::open() {
  host_.enter();
  root_ = ::open(mountpoint_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  return root_ >= 0 ? 0 : errno;
}

void Side::close() {
  for (int i = 0; i < kSlots; ++i) put(i, -1);
  if (root_ < 0) return;
  host_.enter();
  ::close(root_);
  root_ = -1;
}

int Side::enter(int at) const {
  // A chroot for each operation, so that no symbolic link of a random tree leads out of it.
  if (::fchdir(root_) != 0 || ::chroot(".") != 0) return errno;
  if (at < 0) return 0;
  return ::fchdir(slot(at)) == 0 ? 0 : errno;
}

void Side::put(int index, int descriptor) {
  int& held = slots_[static_cast<std::size_t>(index)];
  if (held >= 0) ::close(held);
  held = descriptor;
}

int Side::fresh_reader(int descriptor) const {
  if (stale_reads_ == StaleReads::kNever) return descriptor;
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0 || (flags & O_ACCMODE) != O_RDONLY) return descriptor;
  struct stat attributes {};
  if (::fstat(descriptor, &attributes) != 0 || !S_ISREG(attributes.st_mode)) return descriptor;
  const std::string name = std::to_string(descriptor);
  const int fresh = ::openat(host_.own_descriptors(), name.c_str(), O_RDONLY | O_CLOEXEC);
  return fresh >= 0 ? fresh : descriptor;
}

}  // namespace plyfs::difftest
