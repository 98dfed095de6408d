#include "config/config_file.h"

#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <initializer_list>
#include <sstream>
#include <system_error>
#include <utility>
#include <vector>

#include "base/text.h"
#include "config/failure_text.h"
#include "config/options_parser.h"
#include "config/volume_spec.h"
#include "sys/durable_file.h"

namespace plyfs::config {
namespace {

using MaybeFailure = std::optional<Failure>;

constexpr std::string_view kKnownKeys =
    "the known keys are name, mountpoint, lower, data, upper, work, volumes, volumes-from, "
    "strict-volumes, foreground and the table [options]";

// Words that have a key of their own, where relative paths are understood.
constexpr auto kOwnKeys =
    std::to_array<std::string_view>({"lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir",
                                     "volume", "volumes-from", "strict-volumes", "config"});

// Words for which "false" is a value, not only the absence of the word.
constexpr auto kToggles =
    std::to_array<std::string_view>({"redirect_dir", "metacopy", "index", "xino", "noacl",
                                     "noxattrs", "writeback", "squash_to_root"});

/// As a part of an option string: commas, quotes and backslashes are themselves.
std::string protected_word(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == ',' || c == '"') {
      out.push_back('\\');
    }
    out.push_back(c);
  }
  return out;
}

/// A path inside a VOLUME.
std::string protected_colons(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c == ':' || c == '\\') {
      out.push_back('\\');
    }
    out.push_back(c);
  }
  return out;
}

/// The parser goes down a level for each dot of a key, and falls off its stack at some 100,000.
/// Keys end with their line, so the dots of a line are the limit, those in quotes among them. The
/// number of the first line that has too many; 0: none.
std::size_t line_of_deep_key(std::string_view text) {
  constexpr std::size_t kMostDots = 5000;
  std::size_t line = 1;
  std::size_t dots = 0;
  for (const char c : text) {
    dots = c == '\n' ? 0 : dots + (c == '.' ? 1 : 0);
    if (dots > kMostDots) {
      return line;
    }
    line += c == '\n' ? 1 : 0;
  }
  return 0;
}

class File {
 public:
  /// `directory`: the current one, for a `path` that is relative.
  File(const std::string& path, const std::string& directory, CommandLine& line)
      : path_(path), line_(line) {
    const std::string whole = path.starts_with('/') ? path : directory + '/' + path;
    directory_ = whole.substr(0, whole.rfind('/') + 1);
  }

  MaybeFailure apply(std::string_view text) {
    if (const std::size_t line = line_of_deep_key(text); line != 0) {
      return bad(line, "it has more dots than any key or list of ours: correct the line");
    }
    toml::table table;
    try {
      table = toml::parse(text, path_);
    } catch (const toml::parse_error& error) {
      return bad(error.source().begin.line, std::string{error.description()});
    }
    // Layers that hold names come before those that only hold data, as everywhere.
    if (const toml::node* const lowers = table.get("lower")) {
      if (MaybeFailure failure = take_list("lower", *lowers)) {
        return failure;
      }
    }
    for (auto&& [key, node] : table) {
      MaybeFailure failure = key.str() == "lower" ? std::nullopt : take(key.str(), node);
      if (failure) {
        return failure;
      }
    }
    return std::nullopt;
  }

 private:
  MountOptions& options() { return line_.options; }

  Failure bad(std::size_t line, const std::string& remedy) const {
    return usage_failure(
        {"bad configuration", path_ + ":" + std::to_string(line), Errno{EINVAL}, remedy});
  }
  Failure bad(const toml::node& node, const std::string& remedy) const {
    return bad(node.source().begin.line, remedy);
  }
  /// A failure of somebody who knows no lines.
  Failure placed(const toml::node& node, const Failure& failure) const {
    return {"bad configuration: " + shown(path_ + ":" + std::to_string(node.source().begin.line)) +
                ": " + failure.what,
            failure.exit_code};
  }

  MaybeFailure take(std::string_view key, const toml::node& node) {
    if (key == "name" || key == "mountpoint" || key == "upper" || key == "work") {
      return take_text(key, node);
    }
    if (key == "data" || key == "volumes" || key == "volumes-from") {
      return take_list(key, node);
    }
    if (key == "strict-volumes" || key == "foreground") {
      const auto value = node.value_exact<bool>();
      if (!value) {
        return bad(node, std::string{key} + " is true or false");
      }
      (key == "foreground" ? options().foreground : options().strict_volumes) = *value;
      return std::nullopt;
    }
    if (key == "options") {
      const toml::table* const table = node.as_table();
      if (table == nullptr) {
        return bad(node, "write the options as a table: [options]");
      }
      for (auto&& [word, value] : *table) {
        if (MaybeFailure failure = take_option(std::string{word.str()}, value)) {
          return failure;
        }
      }
      return std::nullopt;
    }
    return bad(node, "unknown key '" + shown(key) + "': " + std::string{kKnownKeys});
  }

  std::string beside_file(const std::string& path) const {
    return path.starts_with('/') ? path : directory_ + path;
  }

  MaybeFailure take_text(std::string_view key, const toml::node& node) {
    const auto text = node.value_exact<std::string>();
    if (!text || text->empty() || text->find('\0') != std::string::npos) {
      return bad(node, std::string{key} + " is a text in quotes");
    }
    if (key == "name") {
      options().name = *text;
      const MaybeFailure failure = check_name(*text, "bad name of a mount");
      return failure ? MaybeFailure{placed(node, *failure)} : std::nullopt;
    }
    if (key == "mountpoint") {
      options().mountpoint = beside_file(*text);
    } else {
      (key == "upper" ? options().upper : options().work) = beside_file(*text);
    }
    return std::nullopt;
  }

  MaybeFailure take_list(std::string_view key, const toml::node& node) {
    const toml::array* const list = node.as_array();
    if (list == nullptr) {
      return bad(node, std::string{key} + " is a list: [\"...\", \"...\"]");
    }
    for (const toml::node& item : *list) {
      const auto text = item.value_exact<std::string>();
      if (!text || text->find('\0') != std::string::npos) {
        return bad(item, std::string{key} + " is a list of texts in quotes");
      }
      if (const MaybeFailure failure = take_item(key, *text)) {
        return placed(item, *failure);
      }
    }
    return std::nullopt;
  }

  MaybeFailure take_item(std::string_view key, const std::string& text) {
    if (key == "volumes-from") {
      return add_volumes_from(text, options());
    }
    if (key == "volumes") {
      const bool relative = text.starts_with("./") || text.starts_with("../");
      return add_volume(relative ? protected_colons(directory_) + text : text, options());
    }
    return add_layer({text.empty() ? text : beside_file(text), key == "data"}, options());
  }

  MaybeFailure take_option(const std::string& word, const toml::node& node) {
    if (std::ranges::find(kOwnKeys, word) != kOwnKeys.end()) {
      return bad(node, word == "config" ? "a configuration file names no other"
                                        : "'" + word + "' has a key of its own in this file; " +
                                              std::string{kKnownKeys});
    }
    if (word.find_first_of("=,\\\"") != std::string::npos || word.empty()) {
      return bad(node, "'" + shown(word) + "' is no word of -o");
    }
    std::string text = word;
    bool apply = true;
    if (const auto flag = node.value_exact<bool>()) {
      const bool toggle = std::ranges::find(kToggles, word) != kToggles.end();
      apply = *flag || toggle;
      text += *flag || !toggle ? "" : "=off";
    } else if (const auto number = node.value_exact<std::int64_t>()) {
      text += '=' + std::to_string(*number);
    } else if (const auto real = node.value_exact<double>()) {
      std::ostringstream out;
      out.imbue(std::locale::classic());
      out << *real;
      text += '=' + out.str();
    } else if (const auto value = node.value_exact<std::string>()) {
      text += '=' + protected_word(*value);
    } else {
      return bad(node, "an option is a text, a number, true or false");
    }
    MountOptions unused;
    const MaybeFailure failure =
        parse_options(text, UnknownWords::kRefuse, apply ? options() : unused, line_.warnings);
    return failure ? MaybeFailure{placed(node, *failure)} : std::nullopt;
  }

  const std::string& path_;
  std::string directory_;
  CommandLine& line_;
};

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto found = std::filesystem::absolute(path, error);
  return error ? path : found.string();
}

std::string text_of(const VolumeSpec& volume) {
  std::string text =
      volume.kind == VolumeSpec::Kind::kAnonymous ? "" : protected_colons(volume.source) + ':';
  text += protected_colons(volume.destination);
  std::string options = volume.read_only ? ",ro" : "";
  options += volume.no_copy ? ",nocopy" : "";
  options += volume.subpath.empty() ? "" : ",subpath=" + volume.subpath;
  if (!options.empty()) {
    options.front() = ':';
    // An anonymous volume has no source; its options would be taken for a path in the mount.
    text += options;
  }
  return text;
}

/// A volume that was taken over, as if it had been asked for.
VolumeSpec spec_of(const VolumeMount& volume) {
  VolumeSpec spec;
  spec.destination = volume.destination;
  spec.read_only = volume.read_only;
  spec.source = volume.name.empty() ? volume.source : volume.name;
  spec.kind = volume.name.empty() ? VolumeSpec::Kind::kBind : VolumeSpec::Kind::kNamed;
  spec.subpath = volume.subpath;
  return spec;
}

toml::array volumes_of(const MountOptions& options) {
  toml::array volumes;
  for (const VolumeSpec& spec : options.volume_specs) {
    volumes.push_back(text_of(spec));
  }
  for (const VolumeMount& volume : options.volumes) {
    const bool asked = std::ranges::any_of(options.volume_specs, [&](const VolumeSpec& spec) {
      return spec.destination == volume.destination;
    });
    if (!asked) {
      volumes.push_back(text_of(spec_of(volume)));
    }
  }
  return volumes;
}

std::string mapping_text(const std::vector<IdMapping>& maps) {
  std::string text;
  for (const IdMapping& map : maps) {
    text += (text.empty() ? "" : ":") + std::to_string(map.outside) + ':' +
            std::to_string(map.inside) + ':' + std::to_string(map.count);
  }
  return text;
}

template <typename Value>
const char* word_for(Value value, std::initializer_list<std::pair<Value, const char*>> words) {
  for (const auto& [known, word] : words) {
    if (known == value) {
      return word;
    }
  }
  return nullptr;
}

toml::table stack_words(const MountOptions& options) {
  toml::table table;
  const auto put = [&](const char* key, const char* word) {
    if (word != nullptr) {
      table.insert(key, word);
    }
  };
  const auto put_if = [&](const char* key, bool unusual, bool value) {
    if (unusual) {
      table.insert(key, value);
    }
  };
  put("whiteout", word_for(options.whiteout, {{WhiteoutFamily::kChar, "char"},
                                              {WhiteoutFamily::kXattr, "xattr"},
                                              {WhiteoutFamily::kAufs, "aufs"}}));
  put("xattr", word_for(options.xattr_namespace,
                        {{XattrNamespace::kTrusted, "trusted"}, {XattrNamespace::kUser, "user"}}));
  put("fsync", word_for(options.sync,
                        {{SyncPolicy::kStrict, "strict"}, {SyncPolicy::kVolatile, "volatile"}}));
  put("xino", word_for(options.xino, {{Xino::kOn, "on"}, {Xino::kOff, "off"}}));
  put("volume_mode",
      word_for(options.volume_mode, {{VolumeMode::kFuse, "fuse"}, {VolumeMode::kBind, "bind"}}));
  put_if("ro", options.read_only, true);
  put_if("redirect_dir", options.redirect_dir == Toggle::kOff, false);
  put_if("metacopy", options.metacopy == Toggle::kOff, false);
  put_if("index", options.index == Toggle::kOff, false);
  put_if("writeback", options.writeback == Toggle::kOff, false);
  put_if("noacl", options.acl == Toggle::kOff, true);
  put_if("noxattrs", options.xattrs == Toggle::kOff, true);
  put_if("debug", options.debug, true);
  return table;
}

/// TOML is UTF-8; the library would write other bytes as something else.
bool can_be_written(const MountOptions& options) {
  std::vector<std::string> texts = {
      absolute(options.mountpoint), absolute(options.upper.value_or("/")),
      absolute(options.work.value_or("/")), options.fsname, options.subtype};
  for (const LayerPath& layer : options.lowers) {
    texts.push_back(absolute(layer.path));
  }
  for (const VolumeSpec& volume : options.volume_specs) {
    texts.push_back(text_of(volume));
  }
  for (const VolumeMount& volume : options.volumes) {
    texts.push_back(text_of(spec_of(volume)));
  }
  return std::ranges::all_of(texts, is_utf8);
}

toml::table options_of(const MountOptions& options) {
  toml::table table = stack_words(options);
  const MountOptions usual;
  if (!options.ids.uids.empty()) {
    table.insert("uidmapping", mapping_text(options.ids.uids));
  }
  if (!options.ids.gids.empty()) {
    table.insert("gidmapping", mapping_text(options.ids.gids));
  }
  if (options.ids.squash_uid) {
    table.insert("squash_to_uid", static_cast<std::int64_t>(*options.ids.squash_uid));
  }
  if (options.ids.squash_gid) {
    table.insert("squash_to_gid", static_cast<std::int64_t>(*options.ids.squash_gid));
  }
  if (options.timeout_s != usual.timeout_s) {
    table.insert("timeout", options.timeout_s);
  }
  if (options.threads != usual.threads) {
    table.insert("threads", static_cast<std::int64_t>(options.threads));
  }
  if (options.fsname != usual.fsname) {
    table.insert("fsname", options.fsname);
  }
  if (options.subtype != usual.subtype) {
    table.insert("subtype", options.subtype);
  }
  for (const std::string& word : options.fuse_options) {
    table.insert(word, true);
  }
  return table;
}

}  // namespace

MaybeFailure apply_config(std::string_view text, const std::string& path,
                          const std::string& directory, CommandLine& line) {
  return File{path, directory, line}.apply(text);
}

MaybeFailure load_config(const std::string& path, const std::string& directory, CommandLine& line) {
  const auto text = sys::read_file(path);
  if (!text) {
    return system_failure(
        {"cannot read the configuration", path, text.error(), "name a file that you may read"});
  }
  return apply_config(*text, path, directory, line);
}

std::optional<std::string> config_text(const MountOptions& options) {
  if (!can_be_written(options)) {
    return std::nullopt;
  }
  toml::table table;
  const auto put = [&](const char* key, const std::string& text) {
    if (!text.empty()) {
      table.insert(key, text);
    }
  };
  const auto put_list = [&](const char* key, toml::array list) {
    if (!list.empty()) {
      table.insert(key, std::move(list));
    }
  };
  toml::array lowers;
  toml::array data;
  for (const LayerPath& layer : options.lowers) {
    (layer.data_only ? data : lowers).push_back(absolute(layer.path));
  }
  put("name", options.name);
  put("mountpoint", absolute(options.mountpoint));
  put_list("lower", std::move(lowers));
  put_list("data", std::move(data));
  put("upper", options.upper ? absolute(*options.upper) : "");
  put("work", options.work ? absolute(*options.work) : "");
  put_list("volumes", volumes_of(options));
  if (options.strict_volumes) {
    table.insert("strict-volumes", true);
  }
  if (options.foreground) {
    table.insert("foreground", true);
  }
  if (toml::table words = options_of(options); !words.empty()) {
    table.insert("options", std::move(words));
  }
  std::ostringstream out;
  out << "# plyfs mount --config FILE\n" << toml::toml_formatter{table} << '\n';
  std::string text = std::move(out).str();
  return text;
}

MaybeFailure save_config(const std::string& path, const MountOptions& options) {
  const auto text = config_text(options);
  if (!text) {
    return usage_failure({"cannot save the configuration", path, Errno{EILSEQ},
                          "a path is not UTF-8, which TOML cannot hold: leave out --save"});
  }
  if (const Status written = sys::save_durably(path, *text); !written) {
    return mount_failure({"cannot save the configuration", path, written.error(),
                          written.error() == EINVAL
                              ? "name a file: what is there is something else, and stays"
                              : "name a file in a directory that you may write"});
  }
  return std::nullopt;
}

FromFile take_lists(MountOptions& options) {
  FromFile taken;
  taken.lowers = std::exchange(options.lowers, {});
  taken.volumes = std::exchange(options.volume_specs, {});
  taken.upper = options.upper;
  taken.work = options.work;
  return taken;
}

MaybeFailure add_lists(FromFile taken, MountOptions& options) {
  // The work directory belongs to the upper beside which it was written.
  if (taken.upper && options.upper != taken.upper && options.work == taken.work) {
    options.work.reset();
  }
  std::vector<LayerPath> all = std::exchange(options.lowers, {});
  all.insert(all.end(), taken.lowers.begin(), taken.lowers.end());
  std::stable_partition(all.begin(), all.end(),
                        [](const LayerPath& layer) { return !layer.data_only; });
  for (LayerPath& layer : all) {
    if (MaybeFailure failure = add_layer(std::move(layer), options)) {
      return failure;
    }
  }
  const std::size_t asked = options.volume_specs.size();
  for (VolumeSpec& volume : taken.volumes) {
    const auto end = options.volume_specs.begin() + static_cast<std::ptrdiff_t>(asked);
    const bool replaced = std::any_of(options.volume_specs.begin(), end, [&](const auto& other) {
      return other.destination == volume.destination;
    });
    if (!replaced) {
      options.volume_specs.push_back(std::move(volume));
    }
  }
  return std::nullopt;
}

}  // namespace plyfs::config
