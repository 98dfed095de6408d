#include "storage.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <utility>

namespace plyfs::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kImageBytes = std::int64_t{16} << 30U;

bool is_on(const std::string& path, std::uint64_t magic) {
  struct statfs about = {};
  return ::statfs(path.c_str(), &about) == 0 && static_cast<std::uint64_t>(about.f_type) == magic;
}

std::string attach_loop(int image) {
  const int control = static_cast<int>(
      checked(::open("/dev/loop-control", O_RDWR | O_CLOEXEC), "/dev/loop-control"));
  std::string device;
  for (int attempt = 0; attempt < 16 && device.empty(); ++attempt) {
    const long number = ::ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) {
      break;
    }
    const std::string path = "/dev/loop" + std::to_string(number);
    if (::access(path.c_str(), F_OK) != 0) {
      (void)::mknod(path.c_str(), S_IFBLK | 0600,
                    static_cast<dev_t>((7U << 8U) | unsigned(number)));
    }
    const int loop = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    struct loop_config config = {};
    config.fd = static_cast<std::uint32_t>(image);
    // Direct: the pages are cached once, by the ext4 itself. Without it on filesystems that cannot.
    for (const std::uint32_t flags : {std::uint32_t{LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO},
                                      std::uint32_t{LO_FLAGS_AUTOCLEAR}}) {
      config.info.lo_flags = flags;
      if (loop >= 0 && ::ioctl(loop, LOOP_CONFIGURE, &config) == 0) {
        device = path;
        break;  // `loop` stays open until the filesystem is mounted, else autoclear detaches it
      }
    }
  }
  ::close(control);
  if (device.empty()) {
    throw std::runtime_error("no loop device can be had");
  }
  return device;
}

}  // namespace

const char* name_of(Medium medium) { return medium == Medium::kTmpfs ? "tmpfs" : "ext4"; }

Storage::Storage(const Identity& user, const std::string& base)
    : user_(user), base_(base), scratch_(base + "/scratch") {
  if (::geteuid() == 0) {
    checked(::mount("tmpfs", base_.c_str(), "tmpfs", 0, "nr_inodes=0,mode=755,size=90%"),
            "mount tmpfs on " + base_);
    fs::create_directory(base_ + "/tmpfs");
    checked(::chown((base_ + "/tmpfs").c_str(), user.uid, user.gid), "chown");
  } else {
    std::string pattern = "/dev/shm/plyfs-bench-XXXXXX";
    if (is_on("/dev/shm", TMPFS_MAGIC) && ::mkdtemp(pattern.data()) != nullptr) {
      shm_ = pattern;
      fs::create_directory_symlink(shm_, base_ + "/tmpfs");
    }
  }
  fs::create_directory(scratch_);
  checked(::chown(scratch_.c_str(), user.uid, user.gid), "chown");
}

Storage::~Storage() {
  std::error_code ignored;
  if (::geteuid() == 0) {
    (void)::umount2((base_ + "/ext4").c_str(), MNT_DETACH);
    (void)::umount2(base_.c_str(), MNT_DETACH);
  } else if (!shm_.empty()) {
    fs::remove_all(shm_, ignored);
  }
}

void Storage::mount_ext4() {
  const std::string place = base_ + "/ext4";
  fs::create_directory(place);
  if (::geteuid() != 0) {
    if (!is_on(place, EXT4_SUPER_MAGIC)) {
      throw std::runtime_error("TMPDIR is not on ext4, and a loop device needs root");
    }
    return;
  }
  const fs::path around = fs::path(base_).parent_path();
  const int image = static_cast<int>(
      checked(::open(around.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), around.string()));
  checked(::ftruncate(image, kImageBytes), "ftruncate");
  const std::string device = attach_loop(image);
  // Nothing is left for later, when it would disturb the measurements.
  run({"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", device});
  checked(::mount(device.c_str(), place.c_str(), "ext4", 0, ""), "mount ext4");
  ::close(image);
  checked(::chown(place.c_str(), user_.uid, user_.gid), "chown");
}

std::string Storage::missing(Medium medium) {
  if (medium == Medium::kTmpfs) {
    return fs::exists(base_ + "/tmpfs") ? "" : "/dev/shm is not a tmpfs";
  }
  if (!std::exchange(ext4_tried_, true)) {
    try {
      mount_ext4();
    } catch (const std::exception& failure) {
      ext4_problem_ = std::string("no ext4: ") + failure.what();
    }
  }
  return ext4_problem_;
}

std::string Storage::fresh(Medium medium, const std::string& kind) {
  std::string path = base_ + "/" + name_of(medium) + "/" + kind + std::to_string(++made_);
  fs::create_directory(path);
  if (::geteuid() == 0) {
    checked(::chown(path.c_str(), user_.uid, user_.gid), "chown");
  }
  return path;
}

void Storage::remove(const std::string& directory) noexcept {
  const Redirect anyhow = {.input = "", .directory = "", .expect_success = false};
  try {
    const Words remove = {"rm", "-rf", "--one-file-system", directory};
    if (run(remove, anyhow) != 0) {
      (void)run({"chmod", "-R", "u+rwX", directory}, anyhow);
      (void)run(remove, anyhow);
    }
  } catch (const std::exception&) {
  }
}

void copy_merged(const Identity& user, const std::vector<std::string>& layers,
                 const std::string& target) {
  run_as(user, {}, Rights::kKeep, [&] {
    for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
      run({"cp", "-a", "--reflink=never", *layer + "/.", target});
    }
  });
}

void sync_filesystem(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    (void)::syncfs(fd);
    ::close(fd);
  }
}

}  // namespace plyfs::bench
