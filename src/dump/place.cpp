#include "dump/place.h"

#include <algorithm>
#include <set>
#include <utility>

#include "layer/format.h"
#include "layer/link_index.h"
#include "layer/marks.h"
#include "layer/probe.h"
#include "sys/dir_stream.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::dump {
namespace {

using merge::Effect;
using merge::Ending;
using merge::Step;

State state_of(Effect effect) {
  switch (effect) {
    case Effect::kSeen:
      return State::kSeen;
    case Effect::kMerged:
      return State::kMerged;
    case Effect::kData:
      return State::kData;
    case Effect::kAttributesOnly:
      return State::kAttributesOnly;
    case Effect::kWhiteout:
      return State::kWhiteout;
    case Effect::kHidden:
    case Effect::kAbsent:
      return State::kHidden;
  }
  return State::kHidden;
}

Cause cause_of(Ending ending) {
  switch (ending) {
    case Ending::kNone:
      return Cause::kNone;
    case Ending::kWhiteout:
      return Cause::kWhiteout;
    case Ending::kOpaqueMark:
    case Ending::kOpaqueFile:
      return Cause::kOpaque;
    case Ending::kWhiteoutBeside:
      return Cause::kWhiteoutBeside;
    case Ending::kNotDirectory:
      return Cause::kShadowed;
    case Ending::kMount:
      return Cause::kHostMount;
  }
  return Cause::kNone;
}

std::string joined(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + '/' + name;
}

Reason reason_of(const Step& step) {
  Reason reason;
  reason.cause = cause_of(step.ending);
  reason.layer = step.layer;
  reason.path = step.path;
  reason.family = step.family;
  reason.mark = step.ending == Ending::kOpaqueFile ? layer::kAufsOpaqueName : step.mark;
  return reason;
}

Version version_of(const Step& step) {
  Version version;
  version.layer = step.layer;
  version.path = step.path;
  version.state = state_of(step.effect);
  version.stat = step.stat;
  version.family = step.family;
  version.opaque = step.ending == Ending::kOpaqueMark || step.ending == Ending::kOpaqueFile;
  version.opaque_mark = version.opaque ? reason_of(step).mark : "";
  version.redirect = step.redirect;
  version.metacopy = step.metacopy;
  return version;
}

/// What the search said about a place in a layer that it did not ask: the nearest reason above.
Reason why_not_asked(const merge::Trace& trace, layer::LayerIndex layer) {
  const auto ended = [&](layer::LayerIndex within) -> const Step* {
    const auto found = std::ranges::find_if(trace, [&](const Step& step) {
      return step.layer < within && step.ending != Ending::kNone;
    });
    return found == trace.end() ? nullptr : &*found;
  };
  if (const Step* const step = ended(layer)) {
    return reason_of(*step);
  }
  Reason reason;
  for (const Step& step : trace) {
    if (step.layer < layer && !step.redirect.empty()) {
      reason = reason_of(step);
      reason.cause = Cause::kRedirected;
      reason.mark = step.redirect;
    }
  }
  // Something else in this very layer, unless the search was led past it.
  const Step* const beside = reason.cause == Cause::kNone ? ended(layer + 1) : nullptr;
  return beside != nullptr ? reason_of(*beside) : reason;
}

/// One name in one layer, outside of any search. nullopt: not there.
Result<std::optional<Version>> probe_version(sys::BorrowedFd directory, layer::LayerIndex layer,
                                             const std::string& path, const std::string& name,
                                             layer::Reading reading) {
  layer::AufsHint hint;
  const layer::Probe probed = TRY(layer::probe(directory, name.c_str(), hint, reading));
  if (probed.verdict == layer::Verdict::kAbsent) {
    return std::optional<Version>{};
  }
  Version version;
  version.layer = layer;
  version.path = path;
  version.stat = probed.stat;
  version.family = probed.family;
  version.state = probed.verdict == layer::Verdict::kWhiteout ? State::kWhiteout : State::kHidden;
  if (version.stat.is_directory() && version.state == State::kHidden) {
    if (const auto marks = layer::read_dir_marks({directory, name.c_str()}, reading)) {
      version.opaque = marks->opaque;
      version.opaque_mark = marks->opaque ? marks->opaque_by : "";
      version.redirect = marks->redirect;
    }
  } else if (version.stat.is_regular() && version.state == State::kHidden) {
    if (const auto marks = layer::read_file_marks({directory, name.c_str()}, reading)) {
      version.metacopy = marks->metacopy;
      version.redirect = marks->redirect;
    }
  }
  return std::optional<Version>{std::move(version)};
}

bool is_known(const Answer& answer, layer::LayerIndex layer, const std::string& path) {
  return std::ranges::any_of(answer.versions, [&](const Version& version) {
    return version.layer == layer && version.path == path;
  });
}

void add_steps(const merge::Trace& trace, Answer& answer) {
  for (std::size_t i = 0; i < trace.size(); ++i) {
    const Step& step = trace[i];
    if (step.effect != Effect::kAbsent) {
      Version version = version_of(step);
      if (version.state == State::kHidden && i > 0) {
        // It ends the search itself; what hides it is what was found above.
        version.reason = reason_of(trace[i - 1]);
        version.reason.cause = Cause::kShadowed;
      }
      answer.versions.push_back(std::move(version));
    }
  }
}

/// What lies at the name itself in layers of the merged directory that the search left out.
void add_unasked(const OpenStack& stack, Place& place, const std::string& name,
                 const merge::Trace& trace, Answer& answer) {
  Directory& directory = *place.seen;
  for (std::size_t index = 0; index < directory.parts().size(); ++index) {
    const merge::DirectoryPart& part = directory.parts()[index];
    const std::string path = joined(directory.part_path(index), name);
    if (part.boundary != merge::Boundary::kNone || is_known(answer, part.layer, path)) {
      continue;
    }
    const auto found = [&]() -> Result<std::optional<Version>> {
      const sys::FdPin fd = TRY(directory.open_part(index));
      return probe_version(fd->borrow(), part.layer, path, name, stack.layers().reading());
    }();
    if (!found) {
      answer.error = answer.error ? answer.error : found.error();
    } else if (*found) {
      answer.versions.push_back(**found);
      answer.versions.back().reason = why_not_asked(trace, part.layer);
    }
  }
}

void add_hidden(const OpenStack& stack, const Place& place, const std::string& name,
                Answer& answer) {
  for (const HiddenPart& part : place.hidden) {
    const std::string path = joined(part.path, name);
    if (is_known(answer, part.layer, path)) {
      continue;
    }
    const auto found = [&]() -> Result<std::optional<Version>> {
      const sys::UniqueFd fd = TRY(open_in_layer(stack.layers()[part.layer], part.path));
      return probe_version(fd.borrow(), part.layer, path, name, stack.layers().reading());
    }();
    // A hidden directory that cannot be read changes nothing that is seen.
    if (found && *found) {
      answer.versions.push_back(**found);
      answer.versions.back().reason = part.reason;
    }
  }
}

Status collect_names(sys::BorrowedFd directory, std::set<std::string>& names) {
  const sys::UniqueFd listing = TRY(sys::open_listing_quietly({directory, ""}));
  return sys::read_directory(listing.borrow(), [&](const sys::RawEntry& raw) {
    std::string_view name{raw.name, raw.name_size};
    if (layer::is_aufs_internal(name)) {
      return sys::Visit::kContinue;
    }
    if (layer::is_aufs_name(name)) {
      name.remove_prefix(layer::kAufsPrefix.size());
    }
    names.emplace(name);
    return sys::Visit::kContinue;
  });
}

/// Users see the copy that all names of a hard-linked file share, once one of them was changed. The
/// lower file then only gives the data, if the copy has none of its own.
Status follow_index(const OpenStack& stack, Directory& directory, const std::string& name,
                    Answer& answer) {
  const bool linked = answer.found && !answer.stat.is_directory() && answer.stat.nlink > 1;
  if (!linked || answer.layer == layer::kUpper || !stack.has_index()) {
    return {};
  }
  std::size_t index = 0;
  while (directory.parts()[index].layer != answer.layer) {
    ++index;
  }
  const sys::FdPin fd = TRY(directory.open_part(index));
  auto copy = TRY(layer::find_indexed(stack.index(), stack.layers()[answer.layer],
                                      {fd->borrow(), name.c_str()}, stack.layers().reading()));
  if (!copy) {
    return {};
  }
  const auto gives_data = [&](const Version& version) {
    return version.state == State::kData || (version.state == State::kSeen && !version.metacopy);
  };
  for (Version& version : answer.versions) {
    if (copy->marks.metacopy && gives_data(version)) {
      version.state = State::kData;
    } else if (copy->marks.metacopy && version.state == State::kSeen) {
      version.state = State::kAttributesOnly;
    } else if (version.state != State::kWhiteout && version.state != State::kHidden) {
      version.state = State::kHidden;
      version.reason = {Cause::kIndexed, layer::kUpper, "", {}, copy->name};
    }
  }
  Version shared;
  shared.state = State::kSeen;
  shared.stat = copy->stat;
  shared.metacopy = copy->marks.metacopy;
  shared.index_entry = std::move(copy->name);
  answer.versions.insert(answer.versions.begin(), std::move(shared));
  answer.stat = copy->stat;
  answer.layer = layer::kUpper;
  return {};
}

Answer root_answer(Place& place) {
  Answer answer;
  answer.found = true;
  for (std::size_t index = 0; index < place.seen->parts().size(); ++index) {
    Version version;
    version.layer = place.seen->parts()[index].layer;
    version.state = index == 0 ? State::kSeen : State::kMerged;
    if (const auto fd = place.seen->open_part(index)) {
      if (const auto stat = sys::stat_object({(*fd)->borrow(), ""})) {
        version.stat = *stat;
      }
    }
    if (index == 0) {
      answer.stat = version.stat;
      answer.layer = version.layer;
    }
    answer.versions.push_back(std::move(version));
  }
  return answer;
}

}  // namespace

Result<Place> root_place(const OpenStack& stack) {
  Place place;
  place.seen = TRY(Directory::root(stack));
  for (layer::LayerIndex index = stack.first(); index < stack.layers().size(); ++index) {
    if (stack.layers()[index].data_only) {
      place.hidden.push_back({index, "", {Cause::kDataOnly, index, "", {}, ""}});
    }
  }
  return place;
}

Answer examine(const OpenStack& stack, Place& place, const std::string& name,
               merge::Resolution* resolution) {
  Answer answer;
  answer.path = joined(place.path, name);
  merge::Trace trace;
  if (place.seen) {
    auto found = stack.lookup().find(*place.seen, name.c_str(), {}, &trace);
    add_steps(trace, answer);
    if (!found) {
      answer.error = found.error();
    } else {
      answer.found = found->found;
      answer.stat = found->stat;
      answer.layer = found->layer;
      if (resolution != nullptr) {
        *resolution = std::move(*found);
      }
    }
    if (const Status followed = follow_index(stack, *place.seen, name, answer); !followed) {
      answer.error = followed.error();
    }
    add_unasked(stack, place, name, trace, answer);
  }
  add_hidden(stack, place, name, answer);
  std::ranges::stable_sort(answer.versions, {}, &Version::layer);
  if (const std::string* volume = volume_over(stack, answer.path)) {
    answer.volume = *volume;
    for (Version& version : answer.versions) {
      if (version.state != State::kWhiteout) {
        version.state = State::kHidden;
        version.reason = {Cause::kVolume, version.layer, *volume, {}, ""};
      }
    }
  }
  return answer;
}

Place enter(Place& place, const std::string& name, const Answer& answer,
            merge::Resolution& resolution) {
  Place below;
  below.path = answer.path;
  if (place.seen && answer.found && answer.stat.is_directory()) {
    below.seen = Directory::child(place.seen, name, std::move(resolution.parts));
  }
  for (const Version& version : answer.versions) {
    const bool part = version.state == State::kSeen || version.state == State::kMerged;
    const bool is_part = part && below.seen != nullptr;
    if (version.stat.is_directory() && version.state != State::kWhiteout && !is_part) {
      below.hidden.push_back({version.layer, version.path, version.reason});
    }
  }
  return below;
}

void Unreadable::add(layer::LayerIndex in, std::string at, Errno why) {
  if (directories++ == 0) {
    layer = in;
    path = std::move(at);
    error = why;
  }
}

std::vector<std::string> all_names(const OpenStack& stack, Place& place, Unreadable& unreadable) {
  std::set<std::string> names;
  if (place.seen) {
    for (std::size_t index = 0; index < place.seen->parts().size(); ++index) {
      if (place.seen->parts()[index].boundary != merge::Boundary::kNone) {
        continue;
      }
      const auto fd = place.seen->open_part(index);
      const Status read = fd ? collect_names((*fd)->borrow(), names) : Status{fd.error()};
      if (!read) {
        unreadable.add(place.seen->parts()[index].layer, place.seen->part_path(index),
                       read.error());
      }
    }
  }
  for (const HiddenPart& part : place.hidden) {
    const auto fd = open_in_layer(stack.layers()[part.layer], part.path);
    const Status read = fd ? collect_names(fd->borrow(), names) : Status{fd.error()};
    if (!read) {
      unreadable.add(part.layer, part.path, read.error());
    }
  }
  return {names.begin(), names.end()};
}

Result<Target> find_path(const OpenStack& stack, const std::string& path) {
  Target target;
  target.parent = TRY(root_place(stack));
  std::vector<std::string> components;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    std::string component = path.substr(at, slash - at);
    at = slash + 1;
    if (component.empty() || component == ".") {
      continue;
    }
    if (component == "..") {
      return Errno{EINVAL};
    }
    if (component.size() > 255) {
      return Errno{ENAMETOOLONG};
    }
    components.push_back(std::move(component));
  }
  if (components.empty()) {
    target.answer = root_answer(target.parent);
    return target;
  }
  std::optional<Errno> on_the_way;
  for (std::size_t i = 0; i < components.size(); ++i) {
    target.resolution = {};
    target.answer = examine(stack, target.parent, components[i], &target.resolution);
    // Who cannot pass a directory does not know what lies below: not there is no answer.
    on_the_way = on_the_way ? on_the_way : target.answer.error;
    target.answer.error = on_the_way;
    if (i + 1 < components.size()) {
      target.parent = enter(target.parent, components[i], target.answer, target.resolution);
    }
  }
  return target;
}

const std::string* volume_over(const OpenStack& stack, const std::string& path) {
  const VolumeMount* found = nullptr;
  for (const VolumeMount& volume : stack.options().volumes) {
    std::string_view at = volume.destination;
    at.remove_prefix(at.starts_with('/') ? 1 : 0);
    const bool inside =
        path.starts_with(at) && (path.size() == at.size() || at.empty() || path[at.size()] == '/');
    if (inside && (found == nullptr || found->destination.size() <= volume.destination.size())) {
      found = &volume;
    }
  }
  return found == nullptr ? nullptr : &found->source;
}

}  // namespace plyfs::dump
