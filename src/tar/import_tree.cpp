#include "tar/import_tree.h"

#include <utility>

#include "tar/tree_maker.h"

namespace plyfs::tar {
namespace {

class Importer {
 public:
  Importer(TarInput& input, sys::BorrowedFd root, const ImportLimits& limits,
           const ImportEvents& events, ImportTrouble& trouble)
      : input_(input),
        events_(events),
        trouble_(trouble),
        maker_(
            root, MakerRules{.most_depth = limits.most_depth},
            [this](const std::string& what, Errno error) {
              events_.left_out(trouble_.path, what, error);
            },
            trouble.remedy) {}

  Status run(const FileStat& root_default) {
    Attributes attributes;
    attributes.mode = root_default.mode & kPermissionMask;
    attributes.uid = root_default.uid;
    attributes.gid = root_default.gid;
    TRY(maker_.directory({}, std::move(attributes)));
    while (archive_entry* const entry = TRY(next())) {
      TRY(add(entry));
      events_.progress(++entries_);
    }
    return maker_.finish(trouble_.path);
  }

 private:
  Attributes describe(archive_entry* entry) {
    Attributes found = attributes_of(entry);
    for (const auto& [type, acl] : {std::pair{ARCHIVE_ENTRY_ACL_TYPE_ACCESS, &found.access_acl},
                                    {ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, &found.default_acl}}) {
      auto taken = take_acl(entry, type, ids_);
      if (taken) {
        *acl = *std::move(taken);
      } else {
        events_.left_out(trouble_.path, "an ACL for users that are not known here", taken.error());
      }
    }
    return found;
  }

  Result<archive_entry*> next() {
    trouble_ = {};
    return broken(input_.next());
  }

  template <typename T>
  Result<T> broken(Result<T> result) {
    if (!result && result.error() == EPROTO) {
      trouble_.path.clear();
      trouble_.remedy = input_.problem() + ": get the archive anew";
    }
    return result;
  }

  Status add(archive_entry* entry) {
    const char* const path = archive_entry_pathname(entry);
    trouble_.path = path != nullptr ? path : "?";
    const Names names = TRY(maker_.names_of(path));
    if (archive_entry_hardlink(entry) != nullptr) {
      return maker_.hard_link(names, TRY(maker_.names_of(archive_entry_hardlink(entry))));
    }
    const mode_t type = archive_entry_filetype(entry);
    switch (type) {
      case kTypeDirectory:
        return maker_.directory(names, describe(entry));
      case kTypeRegular: {
        const Attributes attributes = describe(entry);
        sys::UniqueFd file = TRY(maker_.begin_file(names, attributes));
        TRY(broken(input_.copy_to(file.borrow(), archive_entry_size(entry),
                                  [this] { events_.progress(entries_); })));
        return maker_.finish_file(std::move(file), attributes);
      }
      case kTypeSymlink:
        return maker_.symlink(names, archive_entry_symlink(entry), describe(entry));
      case kTypeFifo:
      case kTypeChar:
      case kTypeBlock:
        return maker_.node(names, type, archive_entry_rdev(entry), describe(entry));
      default:
        return maker_.refuse("no kind of object that a filesystem has: the archive is damaged");
    }
  }

  TarInput& input_;
  const ImportEvents& events_;
  ImportTrouble& trouble_;
  Ids ids_;
  std::uint64_t entries_ = 0;
  TreeMaker maker_;
};

}  // namespace

Status import_tree(TarInput& input, sys::BorrowedFd root, const FileStat& root_default,
                   const ImportLimits& limits, const ImportEvents& events, ImportTrouble& trouble) {
  input.set_limit(limits.most_bytes);
  return Importer{input, root, limits, events, trouble}.run(root_default);
}

}  // namespace plyfs::tar
