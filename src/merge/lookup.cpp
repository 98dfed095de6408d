#include "merge/lookup.h"

#include <utility>

#include "base/log.h"
#include "base/remedy.h"
#include "layer/format.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::merge {

/// The state of one search, from the topmost layer down.
struct Lookup::Search {
  std::string name;       ///< changes when a relative redirect is met
  bool renamed = false;   ///< parts found from now on need an explicit path
  std::string absolute;   ///< not empty: deeper layers are searched at this path
  bool led_away = false;  ///< set by a directory that has an absolute redirect
  bool wants_data = false;
  bool doubtful = false;  ///< who marked it may not be allowed to read what it leads to
  std::optional<std::uint64_t> first_lower_ino;
  std::size_t parts = 1;     ///< that it has at least, if it is a directory
  std::uint32_t absent = 0;  ///< lower layers that had nothing of that name
  Resolution result;
  Trace* trace = nullptr;  ///< for those who ask why
};

/// One name in one directory of one layer.
struct Lookup::Candidate {
  sys::BorrowedFd dir;
  const char* name;
  layer::LayerIndex layer;
  DirectoryPart* parent;  ///< null while walking an absolute redirect
  layer::AufsHint* hint;
  bool impure;
  std::string parent_path;  ///< filled when `explicit_path`
  bool explicit_path;
  bool bottom;  ///< no layer below can matter
  bool over;    ///< a layer below may have something of that name, or trace is kept
  NamePlaces::Place place = NamePlaces::Place::kAsk;
  bool lazily = false;
  [[nodiscard]] std::string path() const {
    return parent_path.empty() ? std::string{name} : parent_path + '/' + name;
  }
};

namespace {

/// A redirect comes from an untrusted layer: it must never climb.
Status check_component(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.size() > 255 ||
      name.find('/') != std::string::npos || name.find('\0') != std::string::npos) {
    return Errno{EINVAL};
  }
  return {};
}

/// The caller's own line names the path in the mount only; who repairs a layer needs its name.
void tell_broken(const layer::Layer& layer, const std::string& path, Errno error) {
  const bool wrong_mark = error == EINVAL;
  if (wrong_mark || is_of_filesystem(error.value())) {
    log::write(
        log::Level::kWarning,
        "layer " + log::printable(layer.path) + ": looking for " + log::printable(path) + ": " +
            error.message() +
            (wrong_mark ? "; a mark on it (its redirect?) is wrong: see 'plyfs-dump STACK verify'"
                        : remedy_for(error.value(), "the layer")));
  }
}

/// Whether LowerNames says so.
bool lower_lacks(const DirectoryPart& part, layer::LayerIndex first_lower) {
  return part.layer != layer::kUpper && part.layer < first_lower;
}

}  // namespace

layer::Reading Lookup::reading_of(layer::LayerIndex layer) const {
  return {.user = stack_.rules().user, .lift_mode = layer == layer::kUpper};
}

void Lookup::tell_passed_over(layer::LayerIndex layer, const std::string& path) const {
  if (!stack_[layer].passed_over->exchange(true)) {
    log::write(log::Level::kWarning,
               "layer " + log::printable(stack_[layer].path) + ": marks in user.* are not read (" +
                   log::printable(path) +
                   " has some): a mount of root believes trusted.* only; if only people whom you "
                   "trust can write there, mount with 'userxattr'");
  }
}

Status Lookup::check_author(layer::LayerIndex layer, const std::string& path,
                            const FileStat& marked) const {
  if (stack_.believes(layer, marked)) {
    return {};
  }
  log::write(log::Level::kWarning,
             "layer " + log::printable(stack_[layer].path) + ": " + log::printable(path) +
                 " leads elsewhere by a mark in user.* that others than the mounter may have "
                 "written: not followed; let its owner rename it, or keep the layer below a "
                 "directory that only you may enter");
  return Errno{EPERM};
}

/// Whether everybody may go to the data and read it in its layer: then whoever wrote the mark.
Status Lookup::check_data(const DataLocation& data) const {
  constexpr mode_t kSearch = 0011;
  constexpr mode_t kRead = 0044;
  const sys::BorrowedFd root = stack_[data.layer].root.borrow();
  bool open = true;
  for (std::size_t slash = data.path.find('/'); open && slash != std::string::npos;
       slash = data.path.find('/', slash + 1)) {
    const std::string way = data.path.substr(0, slash);
    open = (TRY(sys::stat_object({root, way.c_str()})).mode & kSearch) == kSearch;
  }
  open = open && (TRY(sys::stat_object({root, data.path.c_str()})).mode & kRead) == kRead;
  if (!open) {
    log::write(log::Level::kWarning,
               "layer " + log::printable(stack_[data.layer].path) + ": " +
                   log::printable(data.path) +
                   " is not open to all, and a mark in user.* that others than the mounter may "
                   "have written leads there: not followed");
  }
  return open ? Status{} : Status{Errno{EPERM}};
}

/// The step of this candidate; null when nobody asked.
Step* Lookup::note(Search& search, const Candidate& candidate) {
  if (search.trace == nullptr) [[likely]] {
    return nullptr;
  }
  Step& step = search.trace->emplace_back();
  step.layer = candidate.layer;
  step.path = candidate.path();
  return &step;
}

Result<std::vector<std::string>> split_absolute(const std::string& path) {
  std::vector<std::string> components;
  if (path.empty() || path.front() != '/') {
    return Errno{EINVAL};
  }
  std::size_t at = 1;
  while (at <= path.size()) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    std::string component = path.substr(at, slash - at);
    TRY(check_component(component));
    components.push_back(std::move(component));
    at = slash + 1;
  }
  return components;
}

Result<bool> Lookup::mark_boundary(const Candidate& candidate, DirectoryPart& part) const {
  const auto& covered = stack_[candidate.layer].covered;
  if (!covered || candidate.parent == nullptr || candidate.parent->covered == 0) {
    return false;
  }
  const std::size_t depth = candidate.parent->covered - 1U;
  if (depth >= covered->components.size() || covered->components[depth] != candidate.name) {
    return false;
  }
  part.covered = static_cast<std::uint8_t>(candidate.parent->covered + 1);
  if (depth + 1 == covered->components.size()) {
    part.boundary = Boundary::kCovered;
    return true;
  }
  return false;
}

/// Whether a directory's attributes do not matter, only that it is one.
bool Lookup::merges_unseen(const Search& search) {
  return search.result.found && search.result.stat.is_directory() && search.first_lower_ino &&
         search.trace == nullptr;
}

Result<Lookup::Next> Lookup::accept(Search& search, Candidate candidate) const {
  DirectoryPart part;
  if (TRY(mark_boundary(candidate, part))) {
    // Our own mountpoint: a stat by name would be a request to ourselves.
    const FileStat stat =
        TRY(sys::stat_object({stack_[candidate.layer].covered->directory.borrow(), ""}));
    return accept_directory(search, candidate, stat, false);
  }
  if (candidate.place == NamePlaces::Place::kDirectory && merges_unseen(search)) {
    return accept_directory(search, candidate, FileStat{}, false);
  }
  candidate.place = NamePlaces::Place::kAsk;
  const auto probed =
      TRY(layer::probe(candidate.dir, candidate.name, *candidate.hint, stack_.reading()));
  switch (probed.verdict) {
    case layer::Verdict::kAbsent:
      search.absent += candidate.layer != layer::kUpper ? 1 : 0;
      return Next::kDeeper;
    case layer::Verdict::kWhiteout:
      if (Step* const step = note(search, candidate)) {
        step->effect = Effect::kWhiteout;
        step->ending = Ending::kWhiteout;
        step->family = probed.family;
        step->stat = probed.stat;
      }
      return Next::kStop;
    case layer::Verdict::kObject:
      break;
  }
  if (probed.stat.is_directory()) {
    return accept_directory(search, candidate, probed.stat, probed.hides_lower);
  }
  return accept_file(search, candidate, probed.stat);
}

Result<DirectoryPart> Lookup::part_at(const Candidate& candidate, const FileStat& stat) const {
  DirectoryPart part;
  part.layer = candidate.layer;
  (void)TRY(mark_boundary(candidate, part));
  if (stat.mount_root && part.boundary == Boundary::kNone) {
    part.boundary = Boundary::kEmpty;
  }
  part.unopened = candidate.place == NamePlaces::Place::kDirectory;
  if (candidate.explicit_path) {
    part.path = std::make_unique<const std::string>(candidate.path());
  }
  return part;
}

/// Whether a directory's marks may be followed.
Status Lookup::check_marks(const Candidate& candidate, const layer::DirMarks& marks) const {
  if (marks.passed_over) {
    tell_passed_over(candidate.layer, candidate.path());
  }
  if (marks.redirect.empty() || !marks.by_user) {
    return {};
  }
  const FileStat marked = TRY(sys::stat_object({candidate.dir, candidate.name}));
  return check_author(candidate.layer, candidate.path(), marked);
}

Result<Lookup::Next> Lookup::accept_directory(Search& search, const Candidate& candidate,
                                              const FileStat& stat, bool hides_lower) const {
  Step* const step = note(search, candidate);
  if (step != nullptr) {
    step->stat = stat;
    step->effect = search.wants_data      ? Effect::kHidden
                   : !search.result.found ? Effect::kSeen
                                          : Effect::kMerged;
    step->ending = search.wants_data ? Ending::kNotDirectory : Ending::kNone;
  }
  if (search.wants_data) {
    return Next::kStop;
  }
  Resolution& result = search.result;
  if (!result.found) {
    result.found = true;
    result.layer = candidate.layer;
    result.stat = stat;
    result.parts.reserve(search.parts);
  }
  if (candidate.layer != layer::kUpper && !search.first_lower_ino) {
    search.first_lower_ino = stack_.shown_ino(candidate.layer, stat.dev, stat.ino);
  }
  DirectoryPart part = TRY(part_at(candidate, stat));
  Next next = candidate.bottom ? Next::kStop : Next::kDeeper;
  const bool readable_marks = part.boundary == Boundary::kNone;
  if (readable_marks && (!candidate.bottom || candidate.layer == layer::kUpper)) {
    layer::DirMarks marks =
        TRY(layer::read_dir_marks({candidate.dir, candidate.name}, reading_of(candidate.layer)));
    part.xwhiteouts = marks.xwhiteouts;
    part.impure = marks.impure;
    TRY(check_marks(candidate, marks));
    if (step != nullptr) {
      step->redirect = marks.redirect;
    }
    // A redirect says where the lower part is, whatever lies beside the name: renaming writes the
    // redirect first, then `.wh.NAME`, then moves, and each state must show the same.
    if (marks.opaque || (hides_lower && marks.redirect.empty())) {
      next = Next::kStop;
      if (step != nullptr) {
        step->ending = marks.opaque ? Ending::kOpaqueMark : Ending::kWhiteoutBeside;
        step->mark = marks.opaque ? marks.opaque_by : "";
      }
    } else if (next == Next::kDeeper && candidate.lazily && marks.redirect.empty()) {
      part.opaque_file = candidate.over ? OpaqueFile::kUnasked : OpaqueFile::kNo;
    } else if (next == Next::kDeeper && (candidate.over || !marks.redirect.empty()) &&
               TRY(layer::has_aufs_opaque({candidate.dir, candidate.name}, part.aufs,
                                          reading_of(candidate.layer)))) {
      next = Next::kStop;
      if (step != nullptr) {
        step->ending = Ending::kOpaqueFile;
      }
    }
    if (next == Next::kDeeper && !marks.redirect.empty()) {
      if (candidate.layer == layer::kUpper) {
        result.redirect = marks.redirect;
      }
      if (marks.redirect.front() == '/') {
        (void)TRY(split_absolute(marks.redirect));
        search.absolute = std::move(marks.redirect);
        search.led_away = true;
      } else if (const Status valid = check_component(marks.redirect); !valid) {
        return valid.error();
      } else if (!search.absolute.empty()) {
        search.absolute.replace(search.absolute.rfind('/') + 1, std::string::npos, marks.redirect);
      } else {
        search.name = std::move(marks.redirect);
        search.renamed = true;
      }
    }
  }
  result.parts.push_back(std::move(part));
  return next;
}

Result<Lookup::Next> Lookup::accept_file(Search& search, const Candidate& candidate,
                                         const FileStat& stat) const {
  Resolution& result = search.result;
  Step* const step = note(search, candidate);
  if (step != nullptr) {
    step->stat = stat;
    step->effect = Effect::kHidden;
    step->ending = Ending::kNotDirectory;
  }
  if (result.found && !search.wants_data) {
    return Next::kStop;  // a non-directory below a directory is hidden, and hides what is below
  }
  if (search.wants_data && !stat.is_regular()) {
    return Next::kStop;
  }
  const bool upper = candidate.layer == layer::kUpper;
  const bool sparse =
      stat.is_regular() && stat.size_bytes > 0 &&
      (stat.blocks_512 * 512 < stat.size_bytes || stack_[candidate.layer].marks_everywhere);
  layer::FileMarks marks;
  // Bottom files have nothing below to take data from; elsewhere a mark is looked for where the
  // directory says that it holds copied-up entries, or where the file has fewer blocks than bytes.
  if ((candidate.impure || sparse) && (!candidate.bottom || upper)) {
    marks =
        TRY(layer::read_file_marks({candidate.dir, candidate.name}, reading_of(candidate.layer)));
  }
  if (marks.passed_over) {
    tell_passed_over(candidate.layer, candidate.path());
  }
  if (step != nullptr) {
    step->metacopy = stat.is_regular() && marks.metacopy;
    step->redirect = step->metacopy ? marks.redirect : std::string{};
    step->effect = !result.found    ? Effect::kSeen
                   : step->metacopy ? Effect::kAttributesOnly
                                    : Effect::kData;
    step->ending = step->metacopy ? Ending::kNone : Ending::kNotDirectory;
  }
  if (!result.found) {
    result.found = true;
    result.layer = candidate.layer;
    result.stat = stat;
    result.shown_ino = stack_.shown_ino(candidate.layer, stat.dev, stat.ino);
    if (upper && marks.shown_ino) {
      result.shown_ino = *marks.shown_ino;
    }
  }
  if (stat.is_regular() && marks.metacopy) {
    search.wants_data = true;
    search.doubtful = search.doubtful || (marks.by_user && !stack_.believes(candidate.layer, stat));
    if (upper) {
      result.redirect = marks.redirect;
    }
    if (!marks.redirect.empty() && marks.redirect.front() == '/') {
      (void)TRY(split_absolute(marks.redirect));
      search.absolute = marks.redirect;
    } else if (!marks.redirect.empty()) {
      TRY(check_component(marks.redirect));
      search.name = marks.redirect;
      search.renamed = true;
    }
    if (upper) {
      result.marks = std::move(marks);
    }
    return Next::kDeeper;
  }
  if (upper) {
    result.marks = std::move(marks);
  }
  if (search.wants_data) {
    result.data = DataLocation{candidate.layer, candidate.path(), stat.blocks_512, {}};
  }
  return Next::kStop;
}

/// Whether the part above says that part `index` does not show. Nothing hides the first that is
/// asked.
Result<bool> Lookup::is_hidden(DirectoryAccess& directory, std::size_t index,
                               const Hint& hint) const {
  if (index == hint.places.first()) {
    return false;
  }
  const auto hidden = hides_below(directory, index - 1);
  if (!hidden) {
    tell_broken(stack_[directory.parts()[index - 1].layer],
                directory.part_path(index - 1) + '/' + layer::kAufsOpaqueName, hidden.error());
  }
  return hidden;
}

Result<Resolution> Lookup::find(DirectoryAccess& parent, const char* name, Hint hint,
                                Trace* trace) const {
  Search search;
  search.name = name;
  search.trace = trace;
  DirectoryParts& parts = parent.parts();
  search.parts = hint.places.count();
  const auto is_over = [&](std::size_t index) {
    return index + 1 < parts.size() && hint.places.any_behind(index);
  };
  for (std::size_t index = hint.places.first(); index < parts.size(); ++index) {
    if (TRY(is_hidden(parent, index, hint))) {
      break;
    }
    DirectoryPart& part = parts[index];
    // What is known is known of the name that was asked for.
    const auto place = search.renamed ? NamePlaces::Place::kAsk : hint.places.at(index);
    if (place == NamePlaces::Place::kAbsent ||
        (!search.renamed && lower_lacks(part, hint.first_lower))) {
      continue;
    }
    const sys::FdPin dir = TRY(enter_part(parent, index));
    if (!dir) {
      continue;
    }
    const bool bottom = index + 1 == parts.size() && part.layer + 1 == stack_.size();
    const bool needs_path = search.renamed || search.wants_data || trace != nullptr;
    Candidate candidate{dir->borrow(),
                        search.name.c_str(),
                        part.layer,
                        &part,
                        &part.aufs,
                        part.impure.load(),
                        needs_path ? parent.part_path(index) : std::string{},
                        search.renamed,
                        bottom,
                        is_over(index) || trace != nullptr,
                        place,
                        hint.lazily && part.layer != layer::kUpper};
    const std::string held_name = search.renamed ? search.name : std::string{};
    if (search.renamed) {
      candidate.name = held_name.c_str();
    }
    const auto accepted = accept(search, std::move(candidate));
    if (!accepted && hint.lazily && !search.result.parts.empty()) {
      hint.lazily = false;  // what could not be asked may be hidden
      return find(parent, name, hint, trace);
    }
    if (!accepted) {
      tell_broken(stack_[part.layer], parent.part_path(index) + '/' + name, accepted.error());
      return accepted.error();
    }
    if (*accepted == Next::kStop) {
      break;
    }
    if (!search.absolute.empty()) {
      TRY(follow_absolute(search, part.layer));
      break;
    }
  }
  if (search.wants_data && !search.result.data) {
    return Errno{EIO};
  }
  if (search.doubtful) {
    TRY(check_data(*search.result.data));
  }
  Resolution& result = search.result;
  result.wasted_probes = search.absent;
  if (result.found && result.stat.is_directory()) {
    const bool merged = result.layer == layer::kUpper && search.first_lower_ino;
    result.shown_ino = merged ? *search.first_lower_ino
                              : stack_.shown_ino(result.layer, result.stat.dev, result.stat.ino);
  }
  return std::move(search.result);
}

Status Lookup::follow_absolute(Search& search, layer::LayerIndex above) const {
  for (auto index = static_cast<layer::LayerIndex>(above + 1); index < stack_.size(); ++index) {
    if (stack_[index].data_only && !search.wants_data) {
      continue;
    }
    if (TRY(walk(search, index)) == Next::kStop) {
      break;
    }
  }
  return {};
}

Lookup::Next Lookup::stop_at(Search& search, Step barrier) {
  Trace* const trace = search.trace;
  if (trace != nullptr && (trace->empty() || trace->back().layer != barrier.layer ||
                           trace->back().ending == Ending::kNone)) {
    trace->push_back(std::move(barrier));
  }
  return Next::kStop;
}

Result<Lookup::Next> Lookup::walk(Search& search, layer::LayerIndex layer) const {
  const std::vector<std::string> components = TRY(split_absolute(search.absolute));
  sys::UniqueFd held;
  sys::BorrowedFd current = stack_[layer].root.borrow();
  std::string path;
  bool stop_after = false;
  Step barrier;  // the directory on the way that says so
  layer::AufsHint hint;
  const bool bottom = layer + 1 == stack_.size();
  for (std::size_t i = 0; i < components.size(); ++i) {
    const char* name = components[i].c_str();
    if (i + 1 == components.size()) {
      Candidate candidate{current, name, layer, nullptr, &hint, true, path, true, bottom, true};
      const std::uint32_t absent = search.absent;
      search.led_away = false;
      const Next next = TRY(accept(search, std::move(candidate)));
      // As the kernel: a metadata-only file goes on to its data, and an absolute redirect to where
      // it leads, whatever directories they lie in (Linux: ovl_check_redirect).
      const bool to_data = search.wants_data && search.absent == absent;
      stop_after = stop_after && !to_data && !search.led_away;
      return stop_after ? stop_at(search, std::move(barrier)) : next;
    }
    const auto probed = TRY(layer::probe(current, name, hint, stack_.reading()));
    if (probed.verdict == layer::Verdict::kAbsent) {
      return stop_after ? stop_at(search, std::move(barrier)) : Next::kDeeper;
    }
    if (probed.verdict == layer::Verdict::kWhiteout || !probed.stat.is_directory() ||
        probed.stat.mount_root) {
      if (search.trace != nullptr) {
        Step& step = search.trace->emplace_back();
        step.layer = layer;
        step.path = path.empty() ? components[i] : path + '/' + components[i];
        step.family = probed.family;
        step.ending = probed.verdict == layer::Verdict::kWhiteout ? Ending::kWhiteout
                      : probed.stat.is_directory()                ? Ending::kMount
                                                                  : Ending::kNotDirectory;
      }
      return Next::kStop;
    }
    const layer::DirMarks marks = TRY(layer::read_dir_marks({current, name}, reading_of(layer)));
    if (!marks.redirect.empty() && marks.by_user) {
      TRY(check_author(layer, path.empty() ? components[i] : path + '/' + components[i],
                       probed.stat));
    }
    held = TRY(sys::open_directory_at(current, name));
    current = held.borrow();
    hint = layer::AufsHint{};
    path = path.empty() ? components[i] : path + '/' + components[i];
    const bool leads_away = !marks.redirect.empty() && marks.redirect.front() == '/';
    const bool marked = marks.opaque || (probed.hides_lower && marks.redirect.empty());
    const bool file = !marked && (!stop_after || leads_away) &&
                      TRY(layer::has_aufs_opaque({current, ""}, hint, reading_of(layer)));
    if (leads_away && !marked && !file) {
      stop_after = false;
    } else if (!stop_after && (marked || file)) {
      stop_after = true;
      barrier.layer = layer;
      barrier.path = path;
      barrier.ending = marks.opaque         ? Ending::kOpaqueMark
                       : probed.hides_lower ? Ending::kWhiteoutBeside
                                            : Ending::kOpaqueFile;
      barrier.mark = marks.opaque ? marks.opaque_by : "";
    }
    if (!marks.redirect.empty()) {
      // A renamed ancestor: deeper layers are searched under its old place.
      std::string base =
          leads_away ? marks.redirect : '/' + path.substr(0, path.rfind('/') + 1) + marks.redirect;
      for (std::size_t rest = i + 1; rest < components.size(); ++rest) {
        base += '/' + components[rest];
      }
      (void)TRY(split_absolute(base));
      search.absolute = std::move(base);
    }
  }
  return Next::kDeeper;
}

Result<bool> Lookup::exists_below(DirectoryAccess& parent, const char* name, Hint hint) const {
  DirectoryParts& parts = parent.parts();
  for (std::size_t index = hint.places.first(); index < parts.size(); ++index) {
    if (TRY(is_hidden(parent, index, hint))) {
      break;
    }
    DirectoryPart& part = parts[index];
    if (lower_lacks(part, hint.first_lower)) {
      continue;
    }
    const sys::FdPin dir = TRY(enter_part(parent, index));
    if (!dir) {
      continue;
    }
    Candidate candidate{dir->borrow(), name, part.layer, &part, &part.aufs,
                        false,         {},   false,      true,  false};
    DirectoryPart covered;
    if (TRY(mark_boundary(candidate, covered))) {
      return true;
    }
    const auto probed = TRY(layer::probe(dir->borrow(), name, part.aufs, stack_.reading()));
    if (probed.verdict != layer::Verdict::kAbsent) {
      return probed.verdict == layer::Verdict::kObject;
    }
  }
  return false;
}

Result<DirectoryParts> Lookup::root_parts() const {
  DirectoryParts parts;
  const layer::LayerIndex first = stack_.has_upper() ? 0 : 1;
  for (layer::LayerIndex index = first; index < stack_.size(); ++index) {
    if (stack_[index].data_only) {
      continue;
    }
    DirectoryPart part;
    part.layer = index;
    part.covered = stack_[index].covered ? 1 : 0;
    const sys::ObjectRef root{stack_[index].root.borrow(), ""};
    const layer::DirMarks marks = TRY(layer::read_dir_marks(root, reading_of(index)));
    part.xwhiteouts = marks.xwhiteouts;
    part.impure = marks.impure;
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace plyfs::merge
