#include "oci/layer_unpacker.h"

#include <optional>
#include <set>
#include <string_view>

#include "layer/format.h"
#include "sys/creds.h"
#include "tar/tar_input.h"
#include "tar/tree_maker.h"

namespace plyfs::oci {
namespace {

using tar::Attributes;
using tar::Names;

constexpr std::size_t kMostLeftOutNamed = 100;
constexpr const char* kProbeName = "probe";

std::string opaque_xattr(Marks marks) {
  return layer::mark_name(
      marks == Marks::kTrusted ? XattrNamespace::kTrusted : XattrNamespace::kUser,
      layer::Mark::kOpaque);
}

/// What has to be there for deletions to be seen is made by the layer's own marks alone.
class Unpacker {
 public:
  Unpacker(tar::TarInput& input, sys::BorrowedFd root, Marks marks, std::size_t most_depth,
           Budget& budget, UnpackTrouble& trouble)
      : input_(input),
        marks_(marks),
        budget_(budget),
        trouble_(trouble),
        us_(sys::current_privileges()),
        maker_(
            root,
            tar::MakerRules{.replace_directories = true,
                            .accept_absolute = true,
                            .squash_unknown_owners = true,
                            .most_depth = most_depth},
            [this](const std::string& what, Errno /*error*/) { leave_out(what); }, trouble.why) {}

  Status run() {
    while (archive_entry* const entry = TRY(told(input_.next()))) {
      if (--budget_.entries < 0) {
        return Errno{EFBIG};
      }
      ++facts_.entries;
      TRY(add(entry));
    }
    trouble_ = {};
    TRY(write_deletions());
    for (const auto& [names, attributes] : maker_.directories()) {
      if (maker_.is_implied(names) && !opaque_.contains(names)) {
        facts_.implied.push_back(tar::path_of(names));
      }
    }
    return maker_.finish(trouble_.path);
  }
  LayerFacts&& facts() { return std::move(facts_); }

 private:
  template <typename T>
  Result<T> told(Result<T> result) {
    if (!result && result.error() == EPROTO) {
      trouble_.why = input_.problem();
    }
    return result;
  }

  void leave_out(const std::string& what) {
    ++facts_.left_out_count;
    if (facts_.left_out.size() < kMostLeftOutNamed) {
      facts_.left_out.emplace_back(trouble_.path, what);
    }
  }

  Attributes describe(archive_entry* entry) {
    Attributes found = tar::attributes_of(entry);
    for (const auto& [type, acl] : {std::pair{ARCHIVE_ENTRY_ACL_TYPE_ACCESS, &found.access_acl},
                                    {ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, &found.default_acl}}) {
      auto taken = tar::take_acl(entry, type, ids_);
      if (taken) {
        *acl = *std::move(taken);
      } else {
        leave_out("an ACL for users that are not known here");
      }
    }
    // An image's own overlay.* xattrs must not act as marks of this layer.
    for (auto& [name, value] : found.xattrs) {
      name = layer::stored_name(name);
    }
    if (!us_.chown && (found.uid != us_.euid || found.gid != us_.egid)) {
      ++facts_.squashed;
    }
    return found;
  }

  Status add(archive_entry* entry) {
    const char* const path = archive_entry_pathname(entry);
    trouble_.path = path != nullptr ? path : "?";
    trouble_.why.clear();
    const Names names = TRY(maker_.names_of(path));
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (layer::is_aufs_name(names[i])) {
        return i + 1 == names.size() ? add_deletion(names)
                                     : maker_.refuse("it lies in what marks a deletion");
      }
    }
    if (archive_entry_hardlink(entry) != nullptr) {
      return maker_.hard_link(names, TRY(maker_.names_of(archive_entry_hardlink(entry))));
    }
    return make(entry, names);
  }

  /// Done at the end: whether something of this layer stands at that name is known then.
  Status add_deletion(Names names) {
    const std::string mark = std::move(names.back());
    names.pop_back();
    if (mark == layer::kAufsOpaqueName) {
      opaque_.insert(std::move(names));
      return {};
    }
    const std::string_view target = std::string_view{mark}.substr(layer::kAufsPrefix.size());
    if (target.empty() || target == "." || target == "..") {
      return maker_.refuse("a deletion of nothing: do not trust this archive");
    }
    if (!layer::is_aufs_internal(mark)) {  // aufs's own leave no trace
      names.emplace_back(target);
      whiteouts_.insert(std::move(names));
    }
    return {};
  }

  Status make(archive_entry* entry, const Names& names) {
    const mode_t type = archive_entry_filetype(entry);
    switch (type) {
      case kTypeDirectory:
        return maker_.directory(names, describe(entry));
      case kTypeRegular: {
        const Attributes attributes = describe(entry);
        sys::UniqueFd file = TRY(maker_.begin_file(names, attributes));
        TRY(told(input_.copy_to(file.borrow(), archive_entry_size(entry), [] {})));
        facts_.bytes += static_cast<std::uint64_t>(archive_entry_size(entry));
        return maker_.finish_file(std::move(file), attributes);
      }
      case kTypeSymlink:
        return maker_.symlink(names, archive_entry_symlink(entry), describe(entry));
      case kTypeChar:
        if (archive_entry_rdev(entry) == 0) {
          leave_out("a character device 0:0, which would delete");
          return {};
        }
        [[fallthrough]];
      case kTypeFifo:
      case kTypeBlock:
        return maker_.node(names, type, archive_entry_rdev(entry), describe(entry));
      default:
        return maker_.refuse("no kind of object that a filesystem has: the archive is damaged");
    }
  }

  [[nodiscard]] bool lies_in_opaque(const Names& names) const {
    for (Names above = names; !above.empty();) {
      above.pop_back();
      if (opaque_.contains(above)) {
        return true;
      }
    }
    return false;
  }

  Status write_deletions() {
    // In this order a directory comes before what is in it.
    for (const Names& names : whiteouts_) {
      trouble_.path = tar::path_of(names);
      TRY(write_whiteout(names));
    }
    for (const Names& names : opaque_) {
      trouble_.path = tar::path_of(names);
      TRY(write_opaque(names));
    }
    return {};
  }

  Status write_whiteout(const Names& names) {
    const auto there = maker_.look(names);
    if (there && there->is_directory()) {
      opaque_.insert(names);  // deleted below, and made anew
      return {};
    }
    const bool nothing = !there && there.error() == ENOENT;
    // Something stands there, or above it: that hides what is below by itself.
    if (!nothing || lies_in_opaque(names)) {
      trouble_.why.clear();
      return there || nothing || there.error() == EINVAL ? Status{} : Status{there.error()};
    }
    ++facts_.whiteouts;
    Attributes attributes = mark_attributes();
    if (marks_ != Marks::kAufs) {
      return maker_.node(names, kTypeChar, 0, attributes);
    }
    Names mark = names;
    mark.back() = layer::aufs_whiteout_name(mark.back());
    return maker_.finish_file(TRY(maker_.begin_file(mark, attributes)), attributes);
  }

  Status write_opaque(Names names) {
    const auto there = maker_.look(names);
    if ((there && !there->is_directory()) || (!there && there.error() == EINVAL)) {
      trouble_.why.clear();
      return {};  // a file in its place hides as well
    }
    if (marks_ != Marks::kAufs) {
      ++facts_.opaque;
      return maker_.add_xattr(names, opaque_xattr(marks_), "y");
    }
    ++facts_.opaque;
    Attributes attributes = mark_attributes();
    names.emplace_back(layer::kAufsOpaqueName);
    return maker_.finish_file(TRY(maker_.begin_file(names, attributes)), attributes);
  }

  [[nodiscard]] Attributes mark_attributes() const {
    Attributes attributes;
    attributes.mode = 0444;
    attributes.uid = us_.euid;
    attributes.gid = us_.egid;
    return attributes;
  }

  tar::TarInput& input_;
  const Marks marks_;
  Budget& budget_;
  UnpackTrouble& trouble_;
  const sys::Privileges us_;
  tar::Ids ids_;
  LayerFacts facts_;
  std::set<Names> whiteouts_;
  std::set<Names> opaque_;
  tar::TreeMaker maker_;
};

}  // namespace

const char* word_of(Marks marks) {
  switch (marks) {
    case Marks::kTrusted:
      return "overlay";
    case Marks::kUser:
      return "userxattr";
    case Marks::kAufs:
      break;
  }
  return "aufs";
}

Result<Marks> probe_marks(sys::BorrowedFd directory) {
  const sys::Privileges us = sys::current_privileges();
  const Marks wanted =
      us.sys_admin && sys::in_initial_user_namespace() ? Marks::kTrusted : Marks::kUser;
  std::string why;
  bool refused = false;
  tar::TreeMaker maker{directory, {}, [&](const std::string&, Errno) { refused = true; }, why};
  const Status made = maker.node({kProbeName}, kTypeChar, 0, Attributes{});
  TRY(maker.add_xattr({}, opaque_xattr(wanted), "y"));
  std::string at;
  TRY(maker.finish(at));
  return made && !refused ? wanted : Marks::kAufs;
}

Result<LayerFacts> unpack_layer(BlobStream& stream, sys::BorrowedFd root, Marks marks,
                                std::size_t most_depth, Budget& budget, UnpackTrouble& trouble) {
  tar::TarInput input;
  std::optional<Errno> broken;  // what the library would tell in words of its own
  const tar::TarInput::Source source = [&]() -> Result<std::string_view> {
    auto piece = stream.next();
    if (!piece) {
      broken = piece.error();
    }
    return piece;
  };
  Unpacker unpacker{input, root, marks, most_depth, budget, trouble};
  Status done = input.open(source);
  if (done) {
    done = unpacker.run();
  } else {
    trouble.why = input.problem();
  }
  if (done) {
    done = stream.drain();
  }
  if (!done) {
    if (broken) {
      trouble.why = *broken == EPROTO ? "the blob is damaged, or cut off" : "";
      trouble.path.clear();
    }
    return broken.value_or(done.error());
  }
  LayerFacts facts = unpacker.facts();
  facts.packing = stream.packing();
  facts.digest = stream.digest();
  facts.diff_id = stream.diff_id();
  return facts;
}

}  // namespace plyfs::oci
