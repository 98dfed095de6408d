#include "dump/print.h"

#include <algorithm>

#include "base/text.h"
#include "dump/content.h"

namespace plyfs::dump {
namespace {

const char* colour_code(Colour colour) {
  switch (colour) {
    case Colour::kPlain:
      return "";
    case Colour::kDim:
      return "\x1b[2m";
    case Colour::kGreen:
      return "\x1b[32m";
    case Colour::kRed:
      return "\x1b[31m";
    case Colour::kYellow:
      return "\x1b[33m";
    case Colour::kBold:
      return "\x1b[1m";
  }
  return "";
}

/// Columns that a UTF-8 text takes, one per character.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U; }));
}

std::string at_layer(const Reason& reason) {
  const std::string layer = reason.layer == layer::kUpper
                                ? std::string{"the upper layer"}
                                : "layer " + OpenStack::layer_word(reason.layer);
  return layer + " at /" + escaped(reason.path);
}

const char* cause_word(Cause cause) {
  switch (cause) {
    case Cause::kNone:
      return "none";
    case Cause::kWhiteout:
      return "whiteout";
    case Cause::kOpaque:
      return "opaque";
    case Cause::kWhiteoutBeside:
      return "whiteout-beside";
    case Cause::kShadowed:
      return "shadowed";
    case Cause::kRedirected:
      return "redirected";
    case Cause::kHostMount:
      return "host-mount";
    case Cause::kVolume:
      return "volume";
    case Cause::kDataOnly:
      return "data-only";
    case Cause::kIndexed:
      return "indexed";
  }
  return "none";
}

Colour colour_of(State state) {
  switch (state) {
    case State::kSeen:
      return Colour::kGreen;
    case State::kMerged:
    case State::kData:
    case State::kAttributesOnly:
      return Colour::kPlain;
    case State::kWhiteout:
      return Colour::kRed;
    case State::kHidden:
      return Colour::kDim;
  }
  return Colour::kPlain;
}

/// `.wh.NAME` has no attributes of its own here: only NAME was asked for.
bool has_stat(const Version& version) { return version.stat.mode != 0; }

std::string shown_digest(const OpenStack& stack, const Version& version) {
  if (!version.stat.is_regular() || version.metacopy || version.state == State::kWhiteout) {
    return "-";
  }
  const auto digest = file_digest(stack, version);
  return digest ? *digest : "unreadable: " + digest.error().message();
}

std::string target_text(const OpenStack& stack, const Version& version) {
  if (!version.stat.is_symlink()) {
    return {};
  }
  const auto target = link_target(stack, version);
  return target ? "-> " + escaped(*target) : "-> unreadable";
}

std::string device_text(const FileStat& stat) {
  const auto major =
      static_cast<unsigned>(((stat.rdev >> 8) & 0xfff) | ((stat.rdev >> 32) & ~0xfffU));
  const auto minor = static_cast<unsigned>((stat.rdev & 0xff) | ((stat.rdev >> 12) & ~0xffU));
  return std::to_string(major) + ':' + std::to_string(minor);
}

bool is_device(const FileStat& stat) {
  return stat.type() == kTypeChar || stat.type() == kTypeBlock;
}

std::string note_of(const OpenStack& stack, const Answer& answer, const Version& version) {
  std::string note;
  const auto add = [&](const std::string& text) {
    if (!text.empty()) {
      note += (note.empty() ? "" : "; ") + text;
    }
  };
  if (version.path != answer.path && version.index_entry.empty()) {
    add("at /" + escaped(version.path) + " in the layer");
  }
  add(target_text(stack, version));
  add(marks_text(version));
  add(reason_text(version.reason));
  if (note.empty() && version.state == State::kHidden) {
    add("not looked at");
  }
  return note;
}

}  // namespace

std::string coloured(const PrintStyle& style, Colour colour, std::string_view text) {
  if (!style.colour || colour == Colour::kPlain || text.empty()) {
    return std::string{text};
  }
  return colour_code(colour) + std::string{text} + "\x1b[0m";
}

void Table::add(std::vector<std::string> row, Colour colour) {
  rows_.push_back(std::move(row));
  colours_.push_back(colour);
}

std::string Table::text(const PrintStyle& style, std::string_view indent) const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], width(row[i]));
    }
  }
  std::string text;
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    std::string line;
    for (std::size_t i = 0; i < rows_[r].size(); ++i) {
      line += rows_[r][i];
      line.append(i + 1 < rows_[r].size() ? widths[i] - width(rows_[r][i]) + 2 : 0, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += std::string{indent} + coloured(style, colours_[r], line) + '\n';
  }
  return text;
}

const char* state_word(State state) {
  switch (state) {
    case State::kSeen:
      return "seen";
    case State::kMerged:
      return "merged";
    case State::kData:
      return "data";
    case State::kAttributesOnly:
      return "attributes";
    case State::kWhiteout:
      return "whiteout";
    case State::kHidden:
      return "hidden";
  }
  return "hidden";
}

const char* family_word(WhiteoutFamily family) {
  switch (family) {
    case WhiteoutFamily::kChar:
      return "char";
    case WhiteoutFamily::kXattr:
      return "xattr";
    case WhiteoutFamily::kAufs:
      return "aufs";
    case WhiteoutFamily::kProbe:
      return "none";
  }
  return "none";
}

namespace {

const char* family_text(WhiteoutFamily family) {
  switch (family) {
    case WhiteoutFamily::kChar:
      return "character device 0:0";
    case WhiteoutFamily::kXattr:
      return "an empty file marked by xattr";
    case WhiteoutFamily::kAufs:
      return "a .wh. file";
    case WhiteoutFamily::kProbe:
      return "mark";
  }
  return "mark";
}

}  // namespace

std::string reason_text(const Reason& reason) {
  switch (reason.cause) {
    case Cause::kNone:
      return {};
    case Cause::kWhiteout:
      return std::string{"hidden by the whiteout ("} + family_text(reason.family) + ") of " +
             at_layer(reason);
    case Cause::kOpaque:
      return "hidden by the opaque directory (" + escaped(reason.mark) + ") of " + at_layer(reason);
    case Cause::kWhiteoutBeside:
      return "hidden by the .wh. file beside the directory of " + at_layer(reason);
    case Cause::kShadowed:
      return "shadowed by " + at_layer(reason);
    case Cause::kRedirected:
      return "the search was redirected to " + escaped(reason.mark) + " by " + at_layer(reason);
    case Cause::kHostMount:
      return "the host has mounted something on " + at_layer(reason);
    case Cause::kVolume:
      return "a volume lies on top: " + escaped(reason.path);
    case Cause::kDataOnly:
      return "the layer holds only data for redirects";
    case Cause::kIndexed:
      return "another hard link of it was changed: all show the copy in the index, " + reason.mark;
  }
  return {};
}

std::string marks_text(const Version& version) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
  if (version.state == State::kWhiteout) {
    add(family_text(version.family));
  }
  if (version.opaque) {
    add("opaque (" + escaped(version.opaque_mark) + ')');
  }
  if (!version.redirect.empty()) {
    add("redirect " + escaped(version.redirect));
  }
  if (version.metacopy) {
    add("metadata only, data below");
  }
  if (!version.index_entry.empty()) {
    add("shared by its hard links, in the index as " + version.index_entry);
  }
  return text;
}

std::string quantity(std::uint64_t number, const std::string& thing) {
  return std::to_string(number) + ' ' + thing + (number == 1 ? "" : "s");
}

std::string unreadable_text(const Unreadable& unreadable) {
  return std::to_string(unreadable.directories) + " of them, the first in layer " +
         OpenStack::layer_word(unreadable.layer) + " at /" + escaped(unreadable.path) + ": " +
         unreadable.error.message();
}

std::string size_text(const PrintStyle& style, std::uint64_t bytes) {
  return style.exact_bytes ? std::to_string(bytes) : human_bytes(bytes);
}

Json header(const OpenStack& stack, const char* kind) {
  Json json;
  json["plyfs"] = kind;
  json["schema"] = kSchemaVersion;
  Json& layers = json["layers"] = Json::array();
  for (layer::LayerIndex index = stack.first(); index < stack.layers().size(); ++index) {
    Json layer;
    layer["layer"] = index;
    layer["role"] = index == layer::kUpper            ? "upper"
                    : stack.layers()[index].data_only ? "data-only"
                                                      : "lower";
    layer["directory"] = escaped(stack.layers()[index].path);
    layers.push_back(std::move(layer));
  }
  return json;
}

Json version_json(const OpenStack& stack, const Version& version, const PrintStyle& style) {
  Json json;
  json["layer"] = version.layer;
  if (version.index_entry.empty()) {
    json["path"] = '/' + escaped(version.path);
  } else {
    json["index_entry"] = version.index_entry;
  }
  json["state"] = state_word(version.state);
  if (version.state == State::kWhiteout) {
    json["whiteout"] = family_word(version.family);
  } else if (has_stat(version)) {
    json["type"] = type_word(version.stat.mode);
    json["mode"] = octal_mode(version.stat.mode);
    json["uid"] = version.stat.uid;
    json["gid"] = version.stat.gid;
    json["nlink"] = version.stat.nlink;
    json["size"] = version.stat.size_bytes;
    json["mtime"] = iso_time(version.stat.mtime);
    if (is_device(version.stat)) {
      json["device"] = device_text(version.stat);
    }
    if (version.stat.is_symlink()) {
      const auto target = link_target(stack, version);
      json["target"] = target ? Json(escaped(*target)) : Json(nullptr);
    }
    if (style.digests && version.stat.is_regular() && !version.metacopy) {
      const auto digest = file_digest(stack, version);
      json["xxh3"] = digest ? Json(*digest) : Json(nullptr);
    }
  }
  if (version.opaque) {
    json["opaque"] = escaped(version.opaque_mark);
  }
  if (!version.redirect.empty()) {
    json["redirect"] = escaped(version.redirect);
  }
  if (version.metacopy) {
    json["metacopy"] = true;
  }
  if (version.reason.cause != Cause::kNone) {
    Json reason;
    reason["cause"] = cause_word(version.reason.cause);
    if (version.reason.cause == Cause::kVolume) {
      reason["volume"] = escaped(version.reason.path);
    } else {
      reason["layer"] = version.reason.layer;
    }
    if (version.reason.cause != Cause::kVolume && version.reason.cause != Cause::kIndexed) {
      reason["path"] = '/' + escaped(version.reason.path);
    }
    if (version.reason.cause == Cause::kWhiteout) {
      reason["whiteout"] = family_word(version.reason.family);
    }
    if (!version.reason.mark.empty()) {
      reason["mark"] = escaped(version.reason.mark);
    }
    reason["text"] = reason_text(version.reason);
    json["reason"] = std::move(reason);
  }
  return json;
}

Json answer_json(const OpenStack& stack, const Answer& answer, const PrintStyle& style) {
  Json json;
  json["path"] = '/' + escaped(answer.path);
  json["found"] = answer.found && !answer.error;
  if (answer.found) {
    json["layer"] = answer.layer;
  }
  if (answer.error) {
    json["error"] = answer.error->message();
  }
  if (!answer.volume.empty()) {
    json["volume"] = escaped(answer.volume);
  }
  Json& versions = json["versions"] = Json::array();
  for (const Version& version : answer.versions) {
    versions.push_back(version_json(stack, version, style));
  }
  return json;
}

std::string layers_legend(const OpenStack& stack, const PrintStyle& style) {
  Table table{{"LAYER", "DIRECTORY"}};
  for (layer::LayerIndex index = stack.first(); index < stack.layers().size(); ++index) {
    const layer::Layer& layer = stack.layers()[index];
    table.add({OpenStack::layer_word(index),
               escaped(layer.path) + (layer.data_only ? "  (data only)" : "")});
  }
  return table.text(style);
}

std::string answer_text(const OpenStack& stack, const Answer& answer, const PrintStyle& style) {
  std::string verdict = "not there";
  if (answer.error) {
    verdict = "cannot be looked up: " + answer.error->message();
  } else if (!answer.volume.empty()) {
    verdict = "in the volume " + escaped(answer.volume);
  } else if (answer.found) {
    verdict = std::string{type_word(answer.stat.mode)} + ", seen in " +
              (answer.layer == layer::kUpper ? "the upper layer"
                                             : "layer " + OpenStack::layer_word(answer.layer));
  } else if (answer.versions.empty()) {
    verdict = "not there, in no layer";
  }
  std::string text =
      coloured(style, Colour::kBold, '/' + escaped(answer.path)) + ": " + verdict + '\n';
  if (answer.versions.empty()) {
    return text;
  }
  std::vector<std::string> head = {"LAYER", "STATE", "TYPE", "MODE", "OWNER", "SIZE", "MODIFIED"};
  if (style.digests) {
    head.emplace_back("XXH3-128");
  }
  head.emplace_back("WHY");
  Table table{std::move(head)};
  for (const Version& version : answer.versions) {
    const FileStat& stat = version.stat;
    const bool shown = has_stat(version) && version.state != State::kWhiteout;
    std::vector<std::string> row = {OpenStack::layer_word(version.layer),
                                    state_word(version.state)};
    if (shown) {
      row.insert(row.end(),
                 {type_word(stat.mode), octal_mode(stat.mode),
                  std::to_string(stat.uid) + ':' + std::to_string(stat.gid),
                  is_device(stat) ? device_text(stat)
                                  : size_text(style, static_cast<std::uint64_t>(stat.size_bytes)),
                  iso_time({stat.mtime.tv_sec, 0})});
    } else {
      row.insert(row.end(), {"-", "-", "-", "-", "-"});
    }
    if (style.digests) {
      row.push_back(shown_digest(stack, version));
    }
    row.push_back(note_of(stack, answer, version));
    table.add(std::move(row), colour_of(version.state));
  }
  return text + table.text(style, "  ");
}

}  // namespace plyfs::dump
