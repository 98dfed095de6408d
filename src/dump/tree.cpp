#include <algorithm>

#include "base/text.h"
#include "dump/reports.h"

namespace plyfs::dump {
namespace {

bool any(const Answer& answer, const std::function<bool(const Version&)>& is) {
  return std::ranges::any_of(answer.versions, is);
}

bool is_wanted(const Answer& answer, Only only) {
  switch (only) {
    case Only::kAll:
      return true;
    case Only::kUpper:
      return any(answer, [](const Version& version) { return version.layer == layer::kUpper; });
    case Only::kHidden:
      return any(answer, [](const Version& version) { return version.state == State::kHidden; });
    case Only::kWhiteouts:
      return any(answer, [](const Version& version) { return version.state == State::kWhiteout; });
    case Only::kOpaque:
      return any(answer, [](const Version& version) { return version.opaque; });
    case Only::kVolumes:
      return !answer.volume.empty();
  }
  return true;
}

/// "upper,1,3-5".
std::string layers_of(const Answer& answer, State first, State second) {
  std::string text;
  std::optional<layer::LayerIndex> last;
  bool open_range = false;
  for (const Version& version : answer.versions) {
    if ((version.state != first && version.state != second) || last == version.layer) {
      continue;
    }
    const bool follows = last && *last != layer::kUpper && *last + 1 == version.layer;
    if (!follows) {
      text += (open_range ? '-' + OpenStack::layer_word(*last) : "") + (last ? "," : "") +
              OpenStack::layer_word(version.layer);
    }
    open_range = follows;
    last = version.layer;
  }
  return text + (open_range ? '-' + OpenStack::layer_word(*last) : "");
}

std::string padded(std::string text, std::size_t width) {
  text.append(text.size() < width ? width - text.size() : 0, ' ');
  return text + ' ';
}

const Version* topmost(const Answer& answer) {
  return answer.versions.empty() ? nullptr : &answer.versions.front();
}

/// "seen    upper+2    12 B  " and what the name gets behind it.
std::string tree_line(const Answer& answer, std::size_t depth, const TreeOptions& options) {
  const bool seen = answer.found && !answer.error && answer.volume.empty();
  const Version* const top = topmost(answer);
  const bool whiteout = top != nullptr && top->state == State::kWhiteout;
  const char* state = seen                     ? "seen"
                      : answer.error           ? "error"
                      : !answer.volume.empty() ? "volume"
                      : whiteout               ? "whiteout"
                                               : "hidden";
  const State other = seen ? State::kMerged : State::kHidden;
  std::string layers = seen ? layers_of(answer, State::kSeen, other)
                            : (top != nullptr ? OpenStack::layer_word(top->layer) : "-");
  const bool sized = seen && answer.stat.is_regular();
  std::string line =
      padded(state, 8) + padded(std::move(layers), 11) +
      padded(sized ? size_text(options.style, static_cast<std::uint64_t>(answer.stat.size_bytes))
                   : "-",
             10);
  const bool flat = options.only != Only::kAll;
  std::string name = flat || depth == 0 ? '/' + escaped(answer.path)
                                        : escaped(answer.path.substr(answer.path.rfind('/') + 1));
  const mode_t mode = seen ? answer.stat.mode : top != nullptr ? top->stat.mode : 0;
  if ((mode & kTypeMask) == kTypeDirectory && answer.volume.empty() && name != "/") {
    name += '/';
  }
  line += std::string(flat ? 0 : depth * 2, ' ') + name;
  std::string note;
  const auto add = [&](const std::string& text) {
    if (!text.empty()) {
      note += (note.empty() ? "  (" : "; ") + text;
    }
  };
  if (answer.error) {
    add(answer.error->message());
  }
  if (!answer.volume.empty()) {
    add("volume " + escaped(answer.volume));
  }
  if (top != nullptr) {
    add(marks_text(*top));
  }
  const std::string hidden = layers_of(answer, State::kHidden, State::kHidden);
  if (seen || whiteout) {
    add(hidden.empty() ? "" : "hides " + hidden);
  } else if (top != nullptr && answer.volume.empty()) {
    add(reason_text(top->reason));
  }
  line += note.empty() ? "" : note + ')';
  const Colour colour = seen ? (whiteout ? Colour::kRed : Colour::kPlain)
                             : (whiteout || answer.error ? Colour::kRed : Colour::kDim);
  return coloured(options.style, colour, line) + '\n';
}

}  // namespace

Result<WalkResult> print_tree(const OpenStack& stack, const TreeOptions& options,
                              const Sink& sink) {
  Target start = TRY(find_path(stack, options.path));
  if (start.answer.versions.empty() && !start.answer.error && start.answer.volume.empty()) {
    return Errno{ENOENT};
  }
  WalkResult result;
  const WalkOptions walking{options.most_depth};
  if (options.format == Format::kJson) {
    JsonStream stream{sink, header(stack, "tree"), "entries"};
    result = walk(stack, std::move(start), walking, [&](const Answer& answer, std::size_t) {
      if (!is_wanted(answer, options.only)) {
        return Descend::kYes;
      }
      return stream.add(answer_json(stack, answer, options.style)) ? Descend::kYes : Descend::kStop;
    });
    Json tail;
    tail["unreadable_directories"] = result.unreadable.directories;
    stream.finish(tail);
    return result;
  }
  sink(layers_legend(stack, options.style) + '\n');
  sink(coloured(options.style, Colour::kDim,
                padded("STATE", 8) + padded("LAYERS", 11) + padded("SIZE", 10) + "PATH") +
       '\n');
  return walk(stack, std::move(start), walking, [&](const Answer& answer, std::size_t depth) {
    if (!is_wanted(answer, options.only)) {
      return Descend::kYes;
    }
    return sink(tree_line(answer, depth, options)) ? Descend::kYes : Descend::kStop;
  });
}

}  // namespace plyfs::dump
