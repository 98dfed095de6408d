#include "image/tar_writer.h"

#include <utility>

#include "image/sha256.h"
#include "image/target_file.h"
#include "layer/format.h"
#include "sys/object_stat.h"

namespace plyfs::image {
namespace {

class TarWriter final : public TreeWriter {
 public:
  explicit TarWriter(TargetFile file) : file_(std::move(file)) {}

  Status start(tar::Compression compression) {
    compressed_ = compression != tar::Compression::kNone;
    output_ = TRY(tar::TarOutput::open(
        compression,
        [this](std::string_view bytes) -> Status {
          diff_id_.add(bytes);
          return {};
        },
        [this](std::string_view bytes) {
          if (compressed_) {
            digest_.add(bytes);
          }
          return file_.write(bytes);
        }));
    return {};
  }

  Status add(const View& view, const std::string& path, const Object& object) override {
    const FileStat& stat = object.stat;
    if (stat.type() == kTypeSocket) {
      written_.left_out.push_back(path);
      return {};
    }
    const tar::Entry entry = TRY(tar::new_entry(path, stat));
    for (const auto& [name, value] : TRY(public_xattrs(object))) {
      archive_entry_xattr_add_entry(entry.get(), name.c_str(), value.data(), value.size());
    }
    if (stat.is_symlink()) {
      archive_entry_set_symlink(entry.get(), TRY(sys::read_link(object.ref())).c_str());
    }
    if (!stat.is_regular()) {
      return write_header(entry.get());
    }
    const sys::UniqueFd data = TRY(view.open_data(object));
    archive_entry_set_size(entry.get(), stat.size_bytes);
    TRY(write_header(entry.get()));
    return output_->write_data(data.borrow(), stat.size_bytes, {},
                               [this](std::size_t bytes) { written_.bytes += bytes; });
  }

  [[nodiscard]] bool holds_sockets() const override { return false; }

  Status add_link(const std::string& path, const std::string& target,
                  const Object& object) override {
    const tar::Entry entry = TRY(tar::new_entry(path, object.stat));
    archive_entry_set_hardlink(entry.get(), target.c_str());
    archive_entry_set_size(entry.get(), 0);
    return write_header(entry.get());
  }

  Status add_whiteout(const std::string& path) override {
    const std::size_t slash = path.rfind('/');
    const std::string above = slash == std::string::npos ? "" : path.substr(0, slash + 1);
    return add_mark(above + layer::aufs_whiteout_name(path.substr(slash + 1)));
  }

  Status add_opaque(const std::string& directory) override {
    return add_mark(directory.empty() ? layer::kAufsOpaqueName
                                      : directory + '/' + layer::kAufsOpaqueName);
  }

  Status finish() override {
    TRY(output_->finish());
    written_.diff_id = diff_id_.finish();
    written_.digest = compressed_ ? digest_.finish() : written_.diff_id;
    written_.size_bytes = file_.size_bytes();
    return file_.publish();
  }

 private:
  Status write_header(archive_entry* entry) {
    TRY(output_->write_header(entry));
    ++written_.entries;
    return {};
  }

  Status add_mark(const std::string& path) {
    FileStat stat;
    stat.mode = kTypeRegular | 0444;
    const tar::Entry entry = TRY(tar::new_entry(path, stat));
    return write_header(entry.get());
  }

  TargetFile file_;
  bool compressed_ = false;
  Sha256 diff_id_;
  Sha256 digest_;
  std::unique_ptr<tar::TarOutput> output_;  ///< freed first: it writes into the others
};

}  // namespace

Result<std::unique_ptr<TreeWriter>> make_tar_writer(const std::string& target,
                                                    tar::Compression compression) {
  auto writer = std::make_unique<TarWriter>(TRY(TargetFile::create(target)));
  TRY(writer->start(compression));
  return std::unique_ptr<TreeWriter>{std::move(writer)};
}

}  // namespace plyfs::image
