#include "image/target_file.h"

#include <charconv>
#include <string_view>
#include <vector>

#include "layer/workdir.h"
#include "sys/dir_stream.h"
#include "sys/durable_file.h"
#include "sys/interrupts.h"
#include "sys/object_stat.h"
#include "sys/open.h"
#include "sys/process_facts.h"

namespace plyfs::image {
namespace {

constexpr mode_t kMode = 0644;

std::string staged_prefix(const std::string& name) { return "." + name.substr(0, 200) + ".plyfs-"; }

/// Whoever makes it holds its lock, from the moment after it was made: until then its process
/// lives.
void remove_staged(layer::UpperWriter& writer, sys::BorrowedFd directory, const std::string& name) {
  const std::string_view digits = std::string_view{name}.substr(name.rfind('-') + 1);
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), pid);
  if (error != std::errc{} || end != digits.data() + digits.size() || sys::process_exists(pid)) {
    return;
  }
  const auto stat = sys::stat_object({directory, name.c_str()});
  if (!stat || stat->uid != sys::effective_uid() || !(stat->is_regular() || stat->is_directory())) {
    return;
  }
  const auto object = stat->is_directory()
                          ? sys::open_listing({directory, name.c_str()})
                          : sys::open_file({directory, name.c_str()}, sys::Access::kRead);
  if (!object || !sys::lock_file(object->borrow(), sys::LockKind::kExclusive, sys::LockWait::kNo)) {
    return;
  }
  if (stat->is_directory()) {
    (void)layer::empty_directory(writer, object->borrow());
    (void)writer.remove_directory(directory, name.c_str());
  } else {
    (void)writer.unlink_file(directory, name.c_str());
  }
}

}  // namespace

Result<TargetPlace> place_of(const std::string& target) {
  std::string path = target;
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  const std::size_t slash = path.rfind('/');
  TargetPlace place;
  place.name = path.substr(slash + 1);
  if (place.name.empty() || place.name == "." || place.name == "..") {
    return Errno{EINVAL};
  }
  const std::string above = slash == std::string::npos ? "."
                            : slash == 0               ? "/"
                                                       : path.substr(0, slash);
  place.directory = TRY(sys::open_directory_path(above.c_str()));
  place.staged_name = staged_prefix(place.name) + std::to_string(sys::process_id());
  return place;
}

void remove_left_overs(const TargetPlace& place) {
  const std::string prefix = staged_prefix(place.name);
  std::vector<std::string> names;
  if (const auto listing = sys::open_listing({place.directory.borrow(), "."})) {
    (void)sys::read_directory(listing->borrow(), [&](const sys::RawEntry& entry) {
      names.emplace_back(entry.name, entry.name_size);
      return sys::Visit::kContinue;
    });
  }
  layer::UpperWriter writer{layer::UpperWriter::Rights::kOwnerOnly};
  for (const std::string& name : names) {
    if (name.starts_with(prefix)) {
      remove_staged(writer, place.directory.borrow(), name);
    }
  }
}

Result<TargetFile> TargetFile::create(const std::string& target) {
  TargetPlace place = TRY(place_of(target));
  const auto there = sys::stat_object({place.directory.borrow(), place.name.c_str()});
  if (there && !there->is_regular() && !there->is_symlink()) {
    return Errno{there->is_directory() ? EISDIR : EINVAL};
  }
  remove_left_overs(place);
  layer::UpperWriter writer{layer::UpperWriter::Rights::kPrivileged};
  auto unnamed = writer.create_unnamed(place.directory.borrow(), kMode);
  const bool has_name = !unnamed;
  if (has_name) {
    unnamed = writer.create_file(place.directory.borrow(), place.staged_name.c_str(), kMode);
  }
  sys::UniqueFd file = TRY(std::move(unnamed));
  // Told apart from what a killed one left.
  (void)sys::lock_file(file.borrow(), sys::LockKind::kExclusive, sys::LockWait::kNo);
  return TargetFile{std::move(place), std::move(file), has_name};
}

TargetFile::~TargetFile() {
  if (file_.valid() && has_name_) {
    (void)writer_->unlink_file(place_.directory.borrow(), place_.staged_name.c_str());
  }
}

Status TargetFile::write(std::string_view bytes) {
  if (sys::is_interrupted()) {
    return Errno{EINTR};
  }
  TRY(writer_->write_all_at(file_.borrow(), bytes.data(), bytes.size(),
                            static_cast<std::int64_t>(size_bytes_)));
  size_bytes_ += bytes.size();
  return {};
}

Status TargetFile::publish() {
  TRY(writer_->sync(file_.borrow()));
  if (!has_name_) {
    TRY(writer_->make_link({file_.borrow(), ""}, place_.directory.borrow(),
                           place_.staged_name.c_str()));
    has_name_ = true;
  }
  TRY(writer_->rename_entry(place_.directory.borrow(), place_.staged_name.c_str(),
                            place_.directory.borrow(), place_.name.c_str(), 0));
  file_.reset();
  return {};
}

}  // namespace plyfs::image
