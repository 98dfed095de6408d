#include "drawn_layers.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "check.h"
#include "layer/format.h"

namespace plyfs::fuzz {
namespace {

constexpr int kMostThings = 24;

std::string fresh_directory() {
  const char* const given = std::getenv("TMPDIR");
  std::string path = std::string{given == nullptr ? "/tmp" : given} + "/plyfs-fuzz.XXXXXX";
  FUZZ_CHECK(::mkdtemp(path.data()) != nullptr);
  return path;
}

/// A few names that meet again, the words on disk, and what is no text.
std::string name_of(FuzzedDataProvider& input) {
  static const std::array<std::string, 12> kNames = {"a",      "b",
                                                     "c",      ".wh.a",
                                                     ".wh.b",  ".wh..wh..opq",
                                                     ".wh.",   ".wh..wh.plnk",
                                                     "x\n\t",  "\x1b",
                                                     "\xff\\", std::string(255, 'n')};
  const auto which = input.ConsumeIntegralInRange<std::size_t>(0, kNames.size() + 4);
  if (which < kNames.size()) {
    return kNames[which];
  }
  if (which <= kNames.size() + 2) {
    return kNames[which - kNames.size()];  // the first ones more often
  }
  std::string name = input.ConsumeRandomLengthString(12);
  for (char& byte : name) {
    byte = byte == '/' || byte == '\0' ? '_' : byte;
  }
  return name.empty() || name == "." || name == ".." ? "d" : name;
}

std::string redirect_of(FuzzedDataProvider& input) {
  if (input.ConsumeBool()) {
    return input.ConsumeRandomLengthString(40);
  }
  std::string redirect = input.ConsumeBool() ? "/" : "";
  redirect += name_of(input);
  return input.ConsumeBool() ? redirect + '/' + name_of(input) : redirect;
}

}  // namespace

DrawnLayers::DrawnLayers(FuzzedDataProvider& input) : root_(fresh_directory()) {
  const auto lowers = input.ConsumeIntegralInRange<int>(1, 4);
  const auto add = [&](const char* name) {
    layers_.push_back(root_ + '/' + name);
    FUZZ_CHECK(::mkdir(layers_.back().c_str(), 0755) == 0);
  };
  if (input.ConsumeBool()) {
    add("upper");
    options_.upper = layers_.back();
    options_.work = root_ + "/work";
    FUZZ_CHECK(::mkdir(options_.work->c_str(), 0755) == 0);
    (void)::mkdir((*options_.work + "/work").c_str(), 0755);
    (void)::mkdir((*options_.work + "/index").c_str(), 0755);
  }
  for (int i = 0; i < lowers; ++i) {
    add(std::to_string(i).c_str());
    options_.lowers.push_back({layers_.back(), false});
  }
  if (lowers > 1) {
    options_.lowers.back().data_only = input.ConsumeBool();
  }
  const auto things = input.ConsumeIntegralInRange<int>(0, kMostThings);
  for (int i = 0; i < things && input.remaining_bytes() > 0; ++i) {
    draw(input);
  }
}

DrawnLayers::~DrawnLayers() {
  for (const std::string& directory : directories_) {
    (void)::chmod(directory.c_str(), 0700);
  }
  std::error_code error;
  (void)std::filesystem::remove_all(root_, error);
}

/// In one of the layers, with its parents; sometimes in the work directory.
std::string DrawnLayers::path_of(FuzzedDataProvider& input) const {
  std::string path = layers_[input.ConsumeIntegralInRange<std::size_t>(0, layers_.size() - 1)];
  if (options_.work && input.ConsumeIntegralInRange<int>(0, 15) == 0) {
    path = *options_.work + (input.ConsumeBool() ? "/work" : "/index");
  }
  const auto depth = input.ConsumeIntegralInRange<int>(0, 3);
  for (int i = 0; i < depth; ++i) {
    path += '/' + name_of(input);
    (void)::mkdir(path.c_str(), 0755);
  }
  return path + '/' + name_of(input);
}

void DrawnLayers::mark(FuzzedDataProvider& input, const std::string& path) const {
  using layer::Mark;
  const XattrNamespace space =
      input.ConsumeBool() ? XattrNamespace::kUser : XattrNamespace::kTrusted;
  const auto which = static_cast<Mark>(
      input.ConsumeIntegralInRange<unsigned>(0, static_cast<unsigned>(layer::kMarkCount) - 1));
  std::string value;
  if (which == Mark::kRedirect) {
    value = redirect_of(input);
  } else if (which == Mark::kOpaque && input.ConsumeBool()) {
    value = input.ConsumeBool() ? "y" : "x";
  } else {
    value = input.ConsumeRandomLengthString(40);
  }
  (void)::lsetxattr(path.c_str(), layer::mark_name(space, which), value.data(), value.size(), 0);
}

void DrawnLayers::draw(FuzzedDataProvider& input) {
  const std::string path = path_of(input);
  switch (input.ConsumeIntegralInRange<int>(0, 9)) {
    case 0:
    case 1: {
      const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                            input.ConsumeBool() ? 0644 : 0);
      if (fd >= 0) {
        const std::string content = input.ConsumeRandomLengthString(16);
        (void)!::write(fd, content.data(), content.size());
        (void)::ftruncate(fd, input.ConsumeIntegralInRange<off_t>(0, 9000));
        (void)::close(fd);
      }
      break;
    }
    case 2:
      (void)::mkdir(path.c_str(), 0755);
      break;
    case 3:
      (void)::symlink(redirect_of(input).c_str(), path.c_str());
      break;
    case 4:
      (void)::mkfifo(path.c_str(), 0644);
      break;
    case 5:
      (void)::mknod(path.c_str(), S_IFCHR | 0644, 0);
      break;
    case 6:
      (void)::mknod(path.c_str(), S_IFSOCK | 0644, 0);
      break;
    case 7:
      (void)::link(path_of(input).c_str(), path.c_str());
      break;
    case 8:
      if (::mkdir(path.c_str(), 0755) == 0) {
        (void)::mkdir((path + "/in").c_str(), 0755);
        (void)::chmod(path.c_str(), static_cast<mode_t>(input.ConsumeIntegralInRange(0, 0777)));
        directories_.push_back(path);
      }
      break;
    default:
      break;  // marks on what is there
  }
  const auto marks = input.ConsumeIntegralInRange<int>(0, 2);
  for (int i = 0; i < marks; ++i) {
    mark(input, path);
  }
}

}  // namespace plyfs::fuzz
