#include "image/convert.h"

#include <map>
#include <set>

#include "layer/format.h"
#include "layer/marks.h"
#include "layer/probe.h"
#include "sys/dir_stream.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "sys/open.h"

namespace plyfs::image {
namespace {

constexpr std::size_t kPathMax = 4096;

/// What a directory of the layer holds, by name; `.wh.` files are told apart.
struct RawNames {
  std::set<std::string> objects;
  std::set<std::string> whiteouts;
  bool opaque_file = false;
};

Result<RawNames> read_names(sys::BorrowedFd directory) {
  RawNames names;
  const sys::UniqueFd listing = TRY(sys::open_listing({directory, ""}));
  TRY(sys::read_directory(listing.borrow(), [&](const sys::RawEntry& raw) {
    const std::string name{raw.name, raw.name_size};
    if (name == layer::kAufsOpaqueName) {
      names.opaque_file = true;
    } else if (layer::is_aufs_internal(name)) {
      return sys::Visit::kContinue;  // aufs's own bookkeeping
    } else if (layer::is_aufs_name(name)) {
      names.whiteouts.insert(name.substr(layer::kAufsPrefix.size()));
    } else {
      names.objects.insert(name);
    }
    return sys::Visit::kContinue;
  }));
  return names;
}

class Converter {
 public:
  Converter(const View& view, const layer::MarkRules& rules, LayerFormat format, TreeWriter& writer,
            const Progress& progress, std::string& at)
      : view_(view),
        rules_(rules),
        format_(format),
        writer_(writer),
        progress_(progress),
        at_(at) {}

  Status run() {
    at_.clear();
    Object root = TRY(view_.root_object());
    const layer::DirMarks marks = TRY(layer::read_dir_marks(root.ref(), layer::Reading{}));
    root.marks = TRY(translated(root));
    TRY(writer_.add(view_, "", root));
    return directory(root.handle.borrow(), "", marks.opaque);
  }

 private:
  Status directory(sys::BorrowedFd fd, const std::string& path, bool opaque) {
    if (path.size() >= kPathMax) {
      return Errno{ENAMETOOLONG};
    }
    const RawNames names = TRY(read_names(fd));
    if (opaque || names.opaque_file) {
      TRY(writer_.add_opaque(path));
    }
    for (const std::string& name : names.whiteouts) {
      if (!names.objects.contains(name)) {
        TRY(writer_.add_whiteout(path.empty() ? name : path + '/' + name));
      }
    }
    for (const std::string& name : names.objects) {
      at_ = path.empty() ? name : path + '/' + name;
      TRY(entry(fd, name, names.whiteouts.contains(name)));
      progress_(writer_.written());
    }
    return {};
  }

  Status entry(sys::BorrowedFd fd, const std::string& name, bool whiteout_beside) {
    layer::AufsHint hint;
    hint.set(layer::AufsHint::State::kNone);
    const layer::Probe probed = TRY(layer::probe(fd, name.c_str(), hint, layer::Reading{}));
    const std::string path = at_;
    if (probed.verdict == layer::Verdict::kWhiteout) {
      return writer_.add_whiteout(path);
    }
    if (probed.verdict == layer::Verdict::kAbsent) {
      return {};  // removed meanwhile
    }
    Object object;
    object.stat = probed.stat;
    object.layer = 1;
    object.path = path;
    object.handle = TRY(sys::open_handle({fd, name.c_str()}));
    object.marks = TRY(translated(object));
    if (!object.stat.is_directory()) {
      return file(path, object);
    }
    const layer::DirMarks marks = TRY(layer::read_dir_marks({fd, name.c_str()}, layer::Reading{}));
    TRY(writer_.add(view_, path, object));
    return directory(object.handle.borrow(), path,
                     marks.opaque || (whiteout_beside && marks.redirect.empty()));
  }

  Status file(const std::string& path, const Object& object) {
    if (object.stat.nlink > 1) {
      const auto [found, fresh] =
          links_.emplace(LinkIdentity{object.stat.dev, object.stat.ino}, path);
      if (!fresh) {
        return writer_.add_link(path, found->second, object);
      }
    }
    return writer_.add(view_, path, object);
  }

  /// Without `userxattr` root would make a mark that every mount believes of one that an ordinary
  /// user may have written.
  [[nodiscard]] bool would_forge(layer::Mark mark, const Object& object) const {
    return format_ == LayerFormat::kOverlay && rules_.privileged && !rules_.user &&
           !rules_.believes(object.stat) &&
           (mark == layer::Mark::kRedirect || mark == layer::Mark::kMetacopy);
  }

  /// The private marks of an object by their names in the other family; aufs has none of its own,
  /// and keeps what tells where an object came from under the name that it had. What whiteouts and
  /// opaque directories say is said by the writer.
  Result<std::vector<std::pair<std::string, std::string>>> translated(const Object& object) {
    using layer::Mark;
    std::vector<std::pair<std::string, std::string>> marks;
    for (const Mark mark : {Mark::kRedirect, Mark::kMetacopy, Mark::kOrigin, Mark::kImpure,
                            Mark::kNlink, Mark::kPlyfsIno}) {
      std::optional<std::string> value;
      const char* found_as = nullptr;
      for (const XattrNamespace space : {XattrNamespace::kTrusted, XattrNamespace::kUser}) {
        if (!value) {
          found_as = layer::mark_name(space, mark);
          value = TRY(sys::get_xattr(object.ref(), found_as));
        }
      }
      if (!value) {
        continue;
      }
      if (found_as == layer::mark_name(XattrNamespace::kUser, mark) && would_forge(mark, object)) {
        return Errno{EPERM};
      }
      const bool holds_user = object.stat.is_regular() || object.stat.is_directory();
      if (format_ == LayerFormat::kUserXattr && !holds_user) {
        continue;  // links and special files take no user.* xattrs, in the kernel's layers neither
      }
      if (format_ != LayerFormat::kAufs) {
        const auto space =
            format_ == LayerFormat::kOverlay ? XattrNamespace::kTrusted : XattrNamespace::kUser;
        marks.emplace_back(layer::mark_name(space, mark), *std::move(value));
      } else if (mark == Mark::kRedirect || mark == Mark::kMetacopy) {
        return Errno{EOPNOTSUPP};
      } else {
        marks.emplace_back(found_as, *std::move(value));
      }
    }
    return marks;
  }

  const View& view_;
  const layer::MarkRules rules_;
  const LayerFormat format_;
  TreeWriter& writer_;
  const Progress& progress_;
  std::string& at_;
  std::map<LinkIdentity, std::string> links_;
};

}  // namespace

Status convert(const View& view, XattrNamespace asked, LayerFormat format, TreeWriter& writer,
               const Progress& progress, std::string& at) {
  TRY(Converter(view, layer::mark_rules(asked), format, writer, progress, at).run());
  at.clear();
  return writer.finish();
}

}  // namespace plyfs::image
