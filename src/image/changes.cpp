#include "image/changes.h"

#include <algorithm>
#include <map>
#include <set>

#include "sys/object_stat.h"

namespace plyfs::image {
namespace {

using DirectoryPtr = std::shared_ptr<dump::Directory>;

std::string joined(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + '/' + name;
}

/// Two directories of the two views; `below` is null where there is nothing to compare with.
struct Pair {
  DirectoryPtr above;
  DirectoryPtr below;
};

/// No caller could name what is deeper, and the stack of the comparison has an end.
Status check_depth(const std::string& path) {
  constexpr std::size_t kPathMax = 4096;
  return path.size() < kPathMax ? Status{} : Status{Errno{ENAMETOOLONG}};
}

/// Whether everything that `above` shows besides its upper part is exactly what `below` shows.
bool has_same_lowers(dump::Directory& above, dump::Directory& below) {
  const std::size_t skip =
      !above.parts().empty() && above.parts()[0].layer == layer::kUpper ? 1 : 0;
  if (above.parts().size() != below.parts().size() + skip) {
    return false;
  }
  for (std::size_t i = 0; i < below.parts().size(); ++i) {
    if (above.parts()[i + skip].layer != below.parts()[i].layer ||
        above.part_path(i + skip) != below.part_path(i)) {
      return false;
    }
  }
  return true;
}

bool has_upper(dump::Directory& directory) {
  return !directory.parts().empty() && directory.parts()[0].layer == layer::kUpper;
}

/// A directory whose lower parts are none: it replaces what is below.
bool is_cut_off(dump::Directory& above, dump::Directory& below) {
  return has_upper(above) && above.parts().size() == 1 && !below.parts().empty();
}

class Comparison {
 public:
  Comparison(const View& above, const View& below, Replaced replaced, const Visit& visit,
             std::string& at)
      : above_(above), below_(below), replaced_(replaced), visit_(visit), at_(at) {}

  Status run() {
    Pair roots;
    roots.above = TRY(above_.root());
    roots.below = TRY(below_.root());
    at_.clear();
    const Object root = TRY(above_.root_object());
    const Object root_below = TRY(below_.root_object());
    const bool changed = !TRY(same(above_, root, below_, root_below));
    Pending pending{nullptr, &root, at_, changed ? Change::kChanged : Change::kSame, !changed};
    if (changed) {
      TRY(tell(pending.change, {}, &root));
      pending.waiting = false;
    }
    TRY(compare(roots, pending));
    return pending.waiting ? tell(Change::kSame, {}, &root) : Status{};
  }

 private:
  /// A directory that is told when something in it turns out to have changed, before that.
  struct Pending {
    Pending* parent;
    const Object* object;
    std::string path;
    Change change;
    bool waiting;
  };

  Status tell(Change change, const std::string& path, const Object* object,
              const Object* below = nullptr) {
    return visit_(Difference{change, path, object, below});
  }

  Status tell_parents(Pending* pending) {
    if (pending == nullptr || !pending->waiting) {
      return {};
    }
    pending->waiting = false;
    TRY(tell_parents(pending->parent));
    return tell(Change::kChanged, pending->path, pending->object);
  }

  Result<std::vector<std::string>> names_to_compare(const Pair& pair) {
    std::vector<std::string> names = TRY(above_.names(*pair.above));
    const std::vector<std::string> below = TRY(below_.names(*pair.below));
    std::vector<std::string> all;
    std::ranges::set_union(names, below, std::back_inserter(all));
    return all;
  }

  Status compare(const Pair& pair, Pending& pending) {
    TRY(check_depth(pending.path));
    at_ = pending.path;
    const std::vector<std::string> names = TRY(names_to_compare(pair));
    std::set<std::string> gone;
    std::set<std::string> hidden;
    for (const std::string& name : names) {
      at_ = joined(pending.path, name);
      const auto above = TRY(above_.find(*pair.above, name));
      if (!above) {
        gone.insert(name);
        hidden.insert(name);
      } else if (replaced_ == Replaced::kWholeWithoutSockets && above->stat.type() == kTypeSocket &&
                 above->layer == layer::kUpper && TRY(below_.find(*pair.below, name))) {
        hidden.insert(name);
      }
    }
    for (const std::string& name : hidden) {
      at_ = joined(pending.path, name);
      TRY(tell_parents(&pending));
      TRY(tell(Change::kDeleted, at_, nullptr));
    }
    for (const std::string& name : names) {
      if (!gone.contains(name)) {
        at_ = joined(pending.path, name);
        TRY(compare_name(pair, name, pending));
      }
    }
    return {};
  }

  Status compare_name(const Pair& pair, const std::string& name, Pending& pending) {
    const std::string path = at_;
    auto above = TRY(above_.find(*pair.above, name));
    auto below = TRY(below_.find(*pair.below, name));
    if (!above) {
      return {};
    }
    if (!below) {
      TRY(tell_parents(&pending));
      return add_all(pair.above, name, *above, Change::kAdded);
    }
    if (!above->stat.is_directory() || !below->stat.is_directory()) {
      return compare_objects(pair, name, *above, *below, pending);
    }
    const Pair children{dump::Directory::child(pair.above, name, std::move(above->parts)),
                        dump::Directory::child(pair.below, name, std::move(below->parts))};
    if (!above_.has_indexed() && !has_upper(*children.above) &&
        has_same_lowers(*children.above, *children.below)) {
      return {};
    }
    const bool changed = !TRY(same(above_, *above, below_, *below));
    Pending mine{&pending, &*above, path, changed ? Change::kChanged : Change::kSame, true};
    if (replaced_ != Replaced::kByName && is_cut_off(*children.above, *children.below) &&
        !TRY(below_.names(*children.below)).empty()) {
      TRY(tell_parents(&mine));
      TRY(tell(Change::kOpaque, path, nullptr));
      return add_entries(children.above, path, children.below);
    }
    if (changed) {
      TRY(tell_parents(&mine));
    }
    TRY(compare(children, mine));
    return mine.waiting && has_upper(*children.above) ? tell(Change::kSame, path, &*above)
                                                      : Status{};
  }

  Status compare_objects(const Pair& pair, const std::string& name, Object& above, Object& below,
                         Pending& pending) {
    const std::string path = at_;
    const bool one_object =
        above.layer == below.layer && above.path == below.path && above.layer != layer::kUpper;
    if (one_object) {
      return {};
    }
    if (above.stat.type() == below.stat.type() && TRY(same(above_, above, below_, below))) {
      return tell(Change::kSame, path, &above, &below);
    }
    TRY(tell_parents(&pending));
    return add_all(pair.above, name, above, Change::kChanged, &below);
  }

  /// The object, and if it is a directory everything in it as added.
  Status add_all(const DirectoryPtr& parent, const std::string& name, Object& object, Change change,
                 const Object* below = nullptr) {
    const std::string path = at_;
    TRY(tell(change, path, &object, below));
    if (!object.stat.is_directory()) {
      return {};
    }
    return add_entries(dump::Directory::child(parent, name, std::move(object.parts)), path,
                       nullptr);
  }

  /// `replaced`: what was called the same below counts as changed.
  Status add_entries(const DirectoryPtr& directory, const std::string& path,
                     const DirectoryPtr& replaced) {
    TRY(check_depth(path));
    for (const std::string& name : TRY(above_.names(*directory))) {
      at_ = joined(path, name);
      auto object = TRY(above_.find(*directory, name));
      if (!object) {
        continue;
      }
      const bool was = replaced && TRY(below_.find(*replaced, name));
      TRY(add_all(directory, name, *object, was ? Change::kChanged : Change::kAdded));
    }
    return {};
  }

  const View& above_;
  const View& below_;
  const Replaced replaced_;
  const Visit& visit_;
  std::string& at_;
};

/// Which object was written first under which path: further names become links.
class Links {
 public:
  const std::string* first_of(const Object& object, const std::string& path) {
    if (!object.link) {
      return nullptr;
    }
    const auto [found, fresh] = paths_.emplace(*object.link, path);
    return fresh ? nullptr : &found->second;
  }

 private:
  std::map<LinkIdentity, std::string> paths_;
};

Status write_object(const View& view, TreeWriter& writer, Links& links, const std::string& path,
                    const Object& object) {
  const bool left_out = object.stat.type() == kTypeSocket && !writer.holds_sockets();
  const std::string* const first = left_out ? nullptr : links.first_of(object, path);
  if (first != nullptr) {
    return writer.add_link(path, *first, object);
  }
  return writer.add(view, path, object);
}

}  // namespace

Result<std::unique_ptr<Changes>> Changes::open(const dump::OpenStack& stack, Failure& failure) {
  if (!stack.layers().has_upper()) {
    return Errno{ENODATA};
  }
  std::unique_ptr<Changes> changes{new Changes};
  MountOptions lowers = stack.options();
  lowers.upper.reset();
  lowers.work.reset();
  if (lowers.lowers.empty()) {
    return Errno{ENODATA};
  }
  changes->lowers_ = dump::OpenStack::open(lowers, failure);
  if (!changes->lowers_) {
    return Errno{EIO};
  }
  changes->above_ = TRY(View::open(stack));
  changes->below_ = TRY(View::open(*changes->lowers_));
  return changes;
}

Status Changes::compare(Replaced replaced, const Visit& visit, std::string& at) const {
  return Comparison{*above_, *below_, replaced, visit, at}.run();
}

Status commit(const Changes& changes, TreeWriter& writer, const Progress& progress,
              std::string& at) {
  Links links;
  const Visit visit = [&](const Difference& difference) -> Status {
    switch (difference.change) {
      case Change::kAdded:
      case Change::kChanged:
        TRY(write_object(changes.view(), writer, links, difference.path, *difference.object));
        break;
      case Change::kDeleted:
        TRY(writer.add_whiteout(difference.path));
        break;
      case Change::kOpaque:
        TRY(writer.add_opaque(difference.path));
        break;
      case Change::kSame:
        break;
    }
    progress(writer.written());
    return {};
  };
  TRY(changes.compare(writer.holds_sockets() ? Replaced::kWhole : Replaced::kWholeWithoutSockets,
                      visit, at));
  at.clear();
  return writer.finish();
}

Status flatten(const View& view, TreeWriter& writer, const Progress& progress, std::string& at) {
  struct Frame {
    DirectoryPtr directory;
    std::vector<std::string> names;
    std::size_t next = 0;
  };
  Links links;
  std::vector<Frame> frames;
  at.clear();
  TRY(writer.add(view, "", TRY(view.root_object())));
  DirectoryPtr root = TRY(view.root());
  std::vector<std::string> root_names = TRY(view.names(*root));
  frames.push_back({std::move(root), std::move(root_names), 0});
  while (!frames.empty()) {
    Frame& frame = frames.back();
    if (frame.next == frame.names.size()) {
      frames.pop_back();
      continue;
    }
    const std::string name = frame.names[frame.next++];
    at = joined(frame.directory->path(), name);
    auto object = TRY(view.find(*frame.directory, name));
    if (!object) {
      continue;
    }
    TRY(write_object(view, writer, links, at, *object));
    progress(writer.written());
    if (object->stat.is_directory()) {
      DirectoryPtr child = dump::Directory::child(frame.directory, name, std::move(object->parts));
      std::vector<std::string> names = TRY(view.names(*child));
      frames.push_back({std::move(child), std::move(names), 0});
    }
  }
  at.clear();
  return writer.finish();
}

}  // namespace plyfs::image
