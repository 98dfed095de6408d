#include "image/directory_writer.h"

#include "copyup/data_copy.h"
#include "image/target_file.h"
#include "layer/format.h"
#include "layer/workdir.h"
#include "sys/creds.h"
#include "sys/dir_stream.h"
#include "sys/durable_file.h"
#include "sys/interrupts.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::image {
namespace {

// A default ACL is handed down to what is made in its directory, so it comes last.
constexpr const char* kDefaultAcl = "system.posix_acl_default";
constexpr const char* kAccessAcl = "system.posix_acl_access";

TimeChange exactly(timespec time) { return {TimeChange::Kind::kValue, time}; }

class DirectoryWriter final : public TreeWriter {
 public:
  DirectoryWriter(TargetPlace place, LayerFormat format)
      : place_(std::move(place)),
        format_(format),
        writer_(sys::current_privileges().dac_override ? layer::UpperWriter::Rights::kPrivileged
                                                       : layer::UpperWriter::Rights::kOwnerOnly) {}

  ~DirectoryWriter() override {
    if (!made_) {
      return;
    }
    const char* const name = place_.staged_name.c_str();
    if (const auto staged = sys::open_directory_at(place_.directory.borrow(), name)) {
      (void)layer::empty_directory(writer_, staged->borrow());
    }
    (void)writer_.remove_directory(place_.directory.borrow(), name);
  }

  Status start() {
    TRY(check_free());
    remove_left_overs(place_);
    const char* const name = place_.staged_name.c_str();
    TRY(writer_.make_directory(place_.directory.borrow(), name, 0700));
    made_ = true;
    Open root;
    root.fd = TRY(sys::open_listing({place_.directory.borrow(), name}));
    (void)sys::lock_file(root.fd.borrow(), sys::LockKind::kExclusive, sys::LockWait::kNo);
    root.stat.mode = kTypeDirectory | 0755;
    root.stat.uid = sys::current_privileges().euid;  // of a layer that does not tell its root
    root.stat.gid = sys::current_privileges().egid;
    for (const char* const acl : {kDefaultAcl, kAccessAcl}) {  // of the target's parent
      const Status removed = writer_.remove_xattr({root.fd.borrow(), ""}, acl);
      if (!removed && removed.error() != ENODATA && removed.error() != EOPNOTSUPP) {
        return removed;
      }
    }
    chain_.push_back(std::move(root));
    return {};
  }

  Status add(const View& view, const std::string& path, const Object& object) override {
    if (sys::is_interrupted()) {
      return Errno{EINTR};
    }
    ++written_.entries;
    if (path.empty()) {
      chain_.front().stat = object.stat;
      chain_.front().has_times = true;
      return set_xattrs(object, {chain_.front().fd.borrow(), ""}, chain_.front().default_acl);
    }
    const std::string name = TRY(enter_parent_of(path));
    const sys::BorrowedFd directory = chain_.back().fd.borrow();
    const sys::ObjectRef made{directory, name.c_str()};
    if (object.stat.is_directory()) {
      TRY(writer_.make_directory(directory, name.c_str(), 0700));
      Open open;
      open.path = path;
      open.fd = TRY(sys::open_listing(made));
      open.stat = object.stat;
      open.has_times = true;
      TRY(set_xattrs(object, {open.fd.borrow(), ""}, open.default_acl));
      chain_.push_back(std::move(open));
      return {};
    }
    TRY(make(view, object, directory, name.c_str()));
    TRY(set_owner(object.stat, made));
    std::string none;  // only directories have a default ACL
    TRY(set_xattrs(object, made, none));
    return set_mode_and_times(object.stat, made);
  }

  Status add_link(const std::string& path, const std::string& target,
                  const Object& /*object*/) override {
    ++written_.entries;
    const std::string name = TRY(enter_parent_of(path));
    const std::size_t slash = target.rfind('/');
    const sys::UniqueFd from =
        TRY(open_staged(slash == std::string::npos ? "" : target.substr(0, slash)));
    const std::string from_name = target.substr(slash + 1);
    return writer_.make_link({from.borrow(), from_name.c_str()}, chain_.back().fd.borrow(),
                             name.c_str());
  }

  Status add_whiteout(const std::string& path) override {
    ++written_.entries;
    const std::string name = TRY(enter_parent_of(path));
    const sys::BorrowedFd directory = chain_.back().fd.borrow();
    if (format_ == LayerFormat::kAufs) {
      return make_empty(directory, layer::aufs_whiteout_name(name));
    }
    TRY(writer_.make_node(directory, name.c_str(), kTypeChar, 0));
    return clear_times({directory, name.c_str()});
  }

  Status add_opaque(const std::string& directory) override {
    TRY(enter(directory));
    const sys::BorrowedFd fd = chain_.back().fd.borrow();
    if (format_ == LayerFormat::kAufs) {
      return make_empty(fd, layer::kAufsOpaqueName);
    }
    const auto space =
        format_ == LayerFormat::kOverlay ? XattrNamespace::kTrusted : XattrNamespace::kUser;
    return writer_.set_xattr({fd, ""}, layer::mark_name(space, layer::Mark::kOpaque), "y", 0);
  }

  Status finish() override {
    while (!chain_.empty()) {
      TRY(leave());
    }
    // An empty directory may be replaced; anything else is not.
    const Status removed = writer_.remove_directory(place_.directory.borrow(), place_.name.c_str());
    if (!removed && removed.error() != ENOENT) {
      return removed.error() == ENOTEMPTY || removed.error() == ENOTDIR ? Status{Errno{EEXIST}}
                                                                        : removed;
    }
    TRY(writer_.rename_entry(place_.directory.borrow(), place_.staged_name.c_str(),
                             place_.directory.borrow(), place_.name.c_str(), kNoReplace));
    made_ = false;
    return {};
  }

 private:
  static constexpr unsigned kNoReplace = 1;  // RENAME_NOREPLACE

  /// Before anything is written; finish() is what makes sure.
  Status check_free() const {
    const sys::ObjectRef target{place_.directory.borrow(), place_.name.c_str()};
    const auto there = sys::stat_object(target);
    if (!there) {
      return there.error() == ENOENT ? Status{} : Status{there.error()};
    }
    bool empty = there->is_directory();
    if (const auto listing = empty ? sys::open_listing(target) : Result<sys::UniqueFd>{Errno{0}}) {
      TRY(sys::read_directory(listing->borrow(), [&](const sys::RawEntry&) {
        empty = false;
        return sys::Visit::kStop;
      }));
    }
    return empty ? Status{} : Status{Errno{EEXIST}};
  }

  struct Open {
    std::string path;
    sys::UniqueFd fd;
    FileStat stat;
    bool has_times = false;
    std::string default_acl;  ///< set when the directory is left; empty: none
  };

  Status make_empty(sys::BorrowedFd directory, const std::string& name) {
    (void)TRY(writer_.create_file(directory, name.c_str(), 0444));
    return clear_times({directory, name.c_str()});
  }

  /// A mark says that it is there and nothing else: the same layer gives the same tree again.
  Status clear_times(sys::ObjectRef mark) {
    return writer_.change_times(mark, exactly({0, 0}), exactly({0, 0}));
  }

  Status make(const View& view, const Object& object, sys::BorrowedFd directory, const char* name) {
    const FileStat& stat = object.stat;
    if (stat.is_regular()) {
      const sys::UniqueFd data = TRY(view.open_data(object));
      const sys::UniqueFd copy = TRY(writer_.create_file(directory, name, 0600));
      written_.bytes += static_cast<std::uint64_t>(stat.size_bytes);
      return copyup::copy_data(writer_, data.borrow(), copy.borrow(), stat.size_bytes,
                               copyup::SyncFollows::kNo);
    }
    if (stat.is_symlink()) {
      const std::string target = TRY(sys::read_link(object.ref()));
      return writer_.make_symlink(target.c_str(), directory, name);
    }
    return writer_.make_node(directory, name, stat.type() | 0600, stat.rdev);
  }

  Status set_owner(const FileStat& stat, sys::ObjectRef made) {
    const FileStat now = TRY(sys::stat_object(made));
    return now.uid == stat.uid && now.gid == stat.gid
               ? Status{}
               : writer_.change_owner(made, stat.uid, stat.gid);
  }

  /// All but a default ACL, which goes to `default_acl`.
  Status set_xattrs(const Object& object, sys::ObjectRef made, std::string& default_acl) {
    for (auto& [name, value] : TRY(public_xattrs(object))) {
      if (name == kDefaultAcl) {
        default_acl = std::move(value);
      } else {
        TRY(writer_.set_xattr(made, name.c_str(), value, 0));
      }
    }
    for (const auto& [name, value] : object.marks) {
      TRY(writer_.set_xattr(made, name.c_str(), value, 0));
    }
    return {};
  }

  Status set_mode_and_times(const FileStat& stat, sys::ObjectRef made) {
    if (!stat.is_symlink()) {
      TRY(writer_.change_mode(made, stat.mode & kPermissionMask));
    }
    return writer_.change_times(made, exactly(stat.atime), exactly(stat.mtime));
  }

  /// Done with the innermost directory: now it gets what its entries would have changed.
  Status leave() {
    const Open open = std::move(chain_.back());
    chain_.pop_back();
    const sys::ObjectRef made{open.fd.borrow(), ""};
    TRY(set_owner(open.stat, made));
    if (!open.default_acl.empty()) {
      TRY(writer_.set_xattr(made, kDefaultAcl, open.default_acl, 0));
    }
    if (!open.has_times) {
      return writer_.change_mode(made, open.stat.mode & kPermissionMask);
    }
    return set_mode_and_times(open.stat, made);
  }

  /// Makes `directory` the innermost open one; it is one of the chain (parents come first).
  Status enter(const std::string& directory) {
    while (chain_.size() > 1 && chain_.back().path != directory) {
      TRY(leave());
    }
    return chain_.back().path == directory ? Status{} : Status{Errno{ENOENT}};
  }

  Result<std::string> enter_parent_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    TRY(enter(slash == std::string::npos ? "" : path.substr(0, slash)));
    return path.substr(slash + 1);
  }

  Result<sys::UniqueFd> open_staged(const std::string& directory) {
    sys::UniqueFd current =
        TRY(sys::open_directory_at(place_.directory.borrow(), place_.staged_name.c_str()));
    for (std::size_t at = 0; at < directory.size();) {
      const std::size_t slash = std::min(directory.find('/', at), directory.size());
      current =
          TRY(sys::open_directory_at(current.borrow(), directory.substr(at, slash - at).c_str()));
      at = slash + 1;
    }
    return current;
  }

  TargetPlace place_;
  const LayerFormat format_;
  layer::UpperWriter writer_;
  bool made_ = false;
  std::vector<Open> chain_;  ///< from the root to the directory being filled
};

}  // namespace

Result<std::unique_ptr<TreeWriter>> make_directory_writer(const std::string& target,
                                                          LayerFormat format) {
  auto writer = std::make_unique<DirectoryWriter>(TRY(place_of(target)), format);
  TRY(writer->start());
  return std::unique_ptr<TreeWriter>{std::move(writer)};
}

}  // namespace plyfs::image
