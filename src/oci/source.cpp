#include "oci/source.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/open.h"
#include "tar/tar_input.h"
#include "tar/tree_maker.h"

namespace plyfs::oci {
namespace {

constexpr int kMostLinks = 16;
constexpr std::int64_t kMagicAt = 257;  // of a tar header, "ustar"

/// "./a//b" as "a/b"; empty for what leads out or is nothing.
std::string clean(std::string_view path) {
  std::vector<std::string_view> words;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view word = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (word == "..") {
      if (words.empty()) {
        return {};
      }
      words.pop_back();
    } else if (!word.empty() && word != ".") {
      words.push_back(word);
    }
  }
  std::string joined;
  for (const std::string_view word : words) {
    joined += (joined.empty() ? "" : "/") + std::string{word};
  }
  return joined;
}

/// Whether it can be read in any order: a plain tar in a regular file.
bool is_plain_tar(const Extent& file) {
  std::array<char, 5> magic{};
  const auto got = sys::read_at(file.file->borrow(), magic.data(), magic.size(), kMagicAt);
  return got && *got == magic.size() && std::string_view{magic.data(), magic.size()} == "ustar";
}

}  // namespace

namespace {

Result<Extent> open_handle_for_reading(sys::BorrowedFd handle) {
  const FileStat stat = TRY(sys::stat_object({handle, ""}));
  if (!stat.is_regular()) {
    return Errno{stat.is_directory() ? EISDIR : EINVAL};
  }
  auto file =
      std::make_shared<sys::UniqueFd>(TRY(sys::open_file({handle, ""}, sys::Access::kRead)));
  return Extent{std::move(file), 0, stat.size_bytes};
}

}  // namespace

Result<Extent> open_extent(const std::string& path) {
  const sys::UniqueFd handle = TRY(sys::open_path(path.c_str()));
  return open_handle_for_reading(handle.borrow());
}

Result<std::string> read_extent(const Extent& extent) {
  if (extent.size_bytes < 0 || extent.size_bytes > static_cast<std::int64_t>(kMostDocumentBytes)) {
    return Errno{E2BIG};
  }
  std::string text(static_cast<std::size_t>(extent.size_bytes), '\0');
  const std::size_t got =
      TRY(sys::read_at(extent.file->borrow(), text.data(), text.size(), extent.offset));
  text.resize(got);
  return text;
}

/// Goes through a tar once.
class Source::TarScan {
 public:
  TarScan(Source& source, const Extent* plain, const std::string& scratch, Limits limits, Why why)
      : source_(source), plain_(plain), scratch_(scratch), limits_(limits), why_(why) {}

  Status run(const std::string& path) {
    if (!scratch_.empty()) {
      directory_ = TRY(sys::open_directory_path(scratch_.c_str()));
    }
    TRY(told(input_.open(path)));
    while (archive_entry* const entry = TRY(told(input_.next()))) {
      TRY(add(entry));
    }
    return {};
  }

 private:
  template <typename T>
  Result<T> told(Result<T> result) {
    if (!result && why_.empty() && result.error() == EPROTO) {
      why_ = input_.problem();
    }
    return result;
  }

  Errno too_much(const char* what) {
    why_ = std::string{"it holds more "} + what + " than is allowed";
    return Errno{EPROTO};
  }

  Status add(archive_entry* entry) {
    const char* const path = archive_entry_pathname(entry);
    const std::string name = path != nullptr ? clean(path) : std::string{};
    if (++count_ > limits_.members) {
      return too_much("files");
    }
    const char* const hard = archive_entry_hardlink(entry);
    const char* const soft = archive_entry_symlink(entry);
    if (hard != nullptr) {
      source_.links_[name] = clean(hard);
    } else if (soft != nullptr) {
      const std::size_t slash = name.rfind('/');
      source_.links_[name] =
          clean((slash == std::string::npos ? "" : name.substr(0, slash + 1)) + soft);
    } else if (archive_entry_filetype(entry) == kTypeRegular && !name.empty()) {
      source_.members_[name] =
          plain_ != nullptr && archive_entry_sparse_count(entry) == 0
              ? Extent{plain_->file, input_.position(), archive_entry_size(entry)}
              : TRY(put_aside(entry));
    }
    return {};
  }

  Result<Extent> put_aside(archive_entry* entry) {
    auto file =
        std::make_shared<sys::UniqueFd>(TRY(sys::create_unnamed(directory_.borrow(), 0600)));
    const std::int64_t size = archive_entry_size(entry);
    if (size < 0 || static_cast<std::uint64_t>(size) > limits_.bytes - bytes_) {
      return too_much("bytes");
    }
    bytes_ += static_cast<std::uint64_t>(size);
    TRY(told(input_.copy_to(file->borrow(), size, [] {})));
    return Extent{std::move(file), 0, size};
  }

  Source& source_;
  const Extent* plain_;
  const std::string& scratch_;
  const Limits limits_;
  Why why_;
  tar::TarInput input_;
  sys::UniqueFd directory_;
  std::size_t count_ = 0;
  std::uint64_t bytes_ = 0;
};

Result<Source> Source::open(const std::string& path, const std::string& scratch, Limits limits,
                            Why why) {
  Source source;
  if (path == "-") {
    TRY(TarScan(source, nullptr, scratch, limits, why).run(""));
    return source;
  }
  const auto file = open_extent(path);
  if (!file && file.error() == EISDIR) {
    source.directory_ = path;
    return source;
  }
  if (!file && !(file.error() == EINVAL)) {
    return file.error();
  }
  const bool plain = file && is_plain_tar(*file);
  TRY(TarScan(source, plain ? &*file : nullptr, scratch, limits, why).run(path));
  return source;
}

Result<Extent> Source::find(const std::string& name) const {
  if (!directory_.empty()) {
    const std::string cleaned = clean(name);
    if (cleaned.empty()) {
      return Errno{ENOENT};
    }
    const sys::UniqueFd root = TRY(sys::open_directory_path(directory_.c_str()));
    const sys::UniqueFd handle = TRY(sys::open_inside(root.borrow(), cleaned.c_str()));
    return open_handle_for_reading(handle.borrow());
  }
  std::string at = clean(name);
  for (int i = 0; i < kMostLinks; ++i) {
    if (const auto found = members_.find(at); found != members_.end()) {
      return found->second;
    }
    const auto link = links_.find(at);
    if (link == links_.end()) {
      break;
    }
    at = link->second;
  }
  return Errno{ENOENT};
}

Result<std::string> Source::read_document(const std::string& name) const {
  return read_extent(TRY(find(name)));
}

}  // namespace plyfs::oci
