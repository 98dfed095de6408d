#include "image/target_file.h"

#include "sys/open.h"
#include "sys/process_facts.h"

namespace plyfs::image {

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
  place.staged_name =
      "." + place.name.substr(0, 200) + ".plyfs-" + std::to_string(sys::process_id());
  return place;
}

Result<TargetFile> TargetFile::create(const std::string& target) {
  TargetPlace place = TRY(place_of(target));
  layer::UpperWriter writer{layer::UpperWriter::Rights::kPrivileged};
  sys::UniqueFd file =
      TRY(writer.create_file(place.directory.borrow(), place.staged_name.c_str(), 0644));
  return TargetFile{std::move(place), std::move(file)};
}

TargetFile::~TargetFile() {
  if (file_.valid()) {
    (void)writer_->unlink_file(place_.directory.borrow(), place_.staged_name.c_str());
  }
}

Status TargetFile::write(std::string_view bytes) {
  TRY(writer_->write_all_at(file_.borrow(), bytes.data(), bytes.size(),
                            static_cast<std::int64_t>(size_bytes_)));
  size_bytes_ += bytes.size();
  return {};
}

Status TargetFile::publish() {
  TRY(writer_->sync(file_.borrow()));
  TRY(writer_->rename_entry(place_.directory.borrow(), place_.staged_name.c_str(),
                            place_.directory.borrow(), place_.name.c_str(), 0));
  file_.reset();
  return {};
}

}  // namespace plyfs::image
