#include "dump/walk.h"

#include <utility>

namespace plyfs::dump {
namespace {

struct Frame {
  Place place;
  std::vector<std::string> names;
  std::size_t next = 0;
};

bool is_empty(const Place& place) { return !place.seen && place.hidden.empty(); }

}  // namespace

WalkResult walk(const OpenStack& stack, Target start, const WalkOptions& options,
                const std::function<Descend(const Answer&, std::size_t depth)>& visit) {
  WalkResult result;
  std::vector<Frame> frames;
  const auto push = [&](Place place) {
    if (is_empty(place)) {
      return;
    }
    Frame& frame = frames.emplace_back();
    frame.place = std::move(place);
    frame.names = all_names(stack, frame.place, result.unreadable);
  };
  if (visit(start.answer, 0) != Descend::kYes || options.most_depth == 0) {
    return result;
  }
  if (start.answer.path.empty()) {
    push(std::move(start.parent));
  } else {
    const std::string& path = start.answer.path;
    push(enter(start.parent, path.substr(path.rfind('/') + 1), start.answer, start.resolution));
  }
  while (!frames.empty()) {
    Frame& frame = frames.back();
    if (frame.next == frame.names.size()) {
      frames.pop_back();
      continue;
    }
    const std::string name = std::move(frame.names[frame.next++]);
    merge::Resolution resolution;
    const Answer answer = examine(stack, frame.place, name, &resolution);
    const Descend descend = visit(answer, frames.size());
    if (descend == Descend::kStop) {
      break;
    }
    if (descend == Descend::kYes && frames.size() < options.most_depth) {
      Place below = enter(frame.place, name, answer, resolution);
      if (frame.place.seen) {
        frame.place.seen->close();  // the child, or the next name, opens it again
      }
      push(std::move(below));
    }
  }
  return result;
}

}  // namespace plyfs::dump
