#include "config/options_parser.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "config/failure_text.h"
#include "config/fuse_words.h"
#include "config/nearest.h"
#include "config/option_text.h"
#include "config/volume_spec.h"

namespace plyfs::config {
namespace {

constexpr std::uint32_t kMostThreads = 64;

using MaybeFailure = std::optional<Failure>;

/// One word of the string: `key`, `key=value`. `value` still has its escapes.
struct Word {
  std::string_view text;
  std::string_view key;
  std::optional<std::string_view> value;
};

/// What the words act on.
struct Target {
  MountOptions& options;
  UnknownWords unknown;
  Warnings& warnings;
};

using Handler = MaybeFailure (*)(const Word&, Target&);

MaybeFailure bad_value(const Word& word, std::string_view remedy) {
  return usage_failure({"bad option value", word.text, Errno{EINVAL}, remedy});
}

/// A word that is understood and asks for what cannot be done.
MaybeFailure not_built(const Word& word, Target& target, std::string_view consequence) {
  if (target.unknown == UnknownWords::kRefuse) {
    const std::string remedy = std::string{consequence} + ": leave the option out";
    return usage_failure({"cannot use option", word.text, Errno{EOPNOTSUPP}, remedy});
  }
  target.warnings.push_back("argument ignored: " + shown(word.text) + ": " +
                            std::string{consequence});
  return std::nullopt;
}

/// The unescaped path of a word, or a failure.
MaybeFailure take_path(const Word& word, std::string_view escaped, std::string& path) {
  path = unescape(escaped);
  if (path.empty()) {
    return bad_value(word, "give a path; a colon inside a path is written \\:");
  }
  if (path.find('\0') != std::string::npos) {
    return bad_value(word, "a path cannot hold a zero byte");
  }
  return std::nullopt;
}

MaybeFailure append_layer(const Word& word, std::string_view escaped, LayerPath layer,
                          Target& target) {
  if (MaybeFailure failure = take_path(word, escaped, layer.path)) {
    return failure;
  }
  return add_layer(std::move(layer), target.options);
}

MaybeFailure on_lowerdir(const Word& word, Target& target) {
  target.options.lowers.clear();
  const std::string_view value = word.value.value_or("");
  if (value.empty()) {
    return std::nullopt;  // as kernel overlayfs: forget the layers named so far
  }
  bool data_only = false;
  const std::vector<std::string_view> parts = split_at_colons(value);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    // An empty part between two others is the second colon of `::`.
    if (parts[i].empty() && i > 0 && i + 1 < parts.size() && !parts[i - 1].empty()) {
      data_only = true;
      continue;
    }
    if (MaybeFailure failure =
            append_layer(word, parts[i], LayerPath{.path = {}, .data_only = data_only}, target)) {
      return failure;
    }
    // A single colon after a data-only layer is a mistake that add_layer names.
    data_only = false;
  }
  return std::nullopt;
}

MaybeFailure on_lowerdir_append(const Word& word, Target& target) {
  return append_layer(word, word.value.value_or(""), LayerPath{}, target);
}

MaybeFailure on_datadir_append(const Word& word, Target& target) {
  return append_layer(word, word.value.value_or(""), LayerPath{.path = {}, .data_only = true},
                      target);
}

MaybeFailure on_upperdir(const Word& word, Target& target) {
  std::string path;
  MaybeFailure failure = take_path(word, word.value.value_or(""), path);
  if (!failure) {
    target.options.upper = std::move(path);
  }
  return failure;
}

MaybeFailure on_workdir(const Word& word, Target& target) {
  std::string path;
  MaybeFailure failure = take_path(word, word.value.value_or(""), path);
  if (!failure) {
    target.options.work = std::move(path);
  }
  return failure;
}

MaybeFailure on_ro(const Word&, Target& target) {
  target.options.read_only = true;
  return std::nullopt;
}

MaybeFailure on_rw(const Word&, Target& target) {
  target.options.read_only = false;
  return std::nullopt;
}

/// A toggle; a bare word is on.
template <Toggle MountOptions::*kMember>
MaybeFailure on_toggle(const Word& word, Target& target) {
  const std::optional<Toggle> toggle = parse_toggle(word.value.value_or("on"));
  if (!toggle) {
    return bad_value(word, "use on or off");
  }
  target.options.*kMember = *toggle;
  return std::nullopt;
}

/// A toggle named for the absence of something: a bare word, or on, switches it off.
template <Toggle MountOptions::*kMember>
MaybeFailure on_absence(const Word& word, Target& target) {
  const std::optional<Toggle> toggle = parse_toggle(word.value.value_or("on"));
  if (!toggle) {
    return bad_value(word, "use on or off");
  }
  target.options.*kMember = *toggle == Toggle::kOn ? Toggle::kOff : Toggle::kOn;
  return std::nullopt;
}

MaybeFailure on_redirect_dir(const Word& word, Target& target) {
  // Redirects are always followed; the value decides whether they are written.
  const std::string_view value = word.value.value_or("on");
  const bool off = value == "off" || value == "nofollow" || value == "follow" || value == "0";
  target.options.redirect_dir = off ? Toggle::kOff : Toggle::kOn;
  return std::nullopt;
}

MaybeFailure on_xino(const Word& word, Target& target) {
  const std::string_view value = word.value.value_or("on");
  if (value != "on" && value != "off" && value != "auto") {
    return bad_value(word, "use on, off or auto");
  }
  target.options.xino = value == "on" ? Xino::kOn : value == "off" ? Xino::kOff : Xino::kAuto;
  return std::nullopt;
}

MaybeFailure on_volatile(const Word&, Target& target) {
  target.options.sync = SyncPolicy::kVolatile;
  return std::nullopt;
}

MaybeFailure on_fsync(const Word& word, Target& target) {
  const std::string_view value = word.value.value_or("auto");
  if (value == "auto" || value == "1") {
    target.options.sync = SyncPolicy::kAuto;
  } else if (value == "strict") {
    target.options.sync = SyncPolicy::kStrict;
  } else if (value == "volatile" || value == "0") {
    target.options.sync = SyncPolicy::kVolatile;
  } else {
    return bad_value(word, "use auto, strict or volatile");
  }
  return std::nullopt;
}

MaybeFailure on_sync(const Word& word, Target& target) {
  if (word.value) {
    return on_fsync(word, target);  // the fuse-overlayfs word
  }
  (void)take_fuse_word(word.key, target.options.fuse_options);  // the mount(8) word
  return std::nullopt;
}

MaybeFailure on_whiteout(const Word& word, Target& target) {
  static constexpr std::array<std::pair<std::string_view, WhiteoutFamily>, 4> kFamilies{{
      {"auto", WhiteoutFamily::kProbe},
      {"char", WhiteoutFamily::kChar},
      {"xattr", WhiteoutFamily::kXattr},
      {"aufs", WhiteoutFamily::kAufs},
  }};
  for (const auto& [name, family] : kFamilies) {
    if (word.value == name) {
      target.options.whiteout = family;
      return std::nullopt;
    }
  }
  return bad_value(word, "use auto, char, xattr or aufs");
}

MaybeFailure on_xattr(const Word& word, Target& target) {
  if (word.value == "auto") {
    target.options.xattr_namespace = XattrNamespace::kProbe;
  } else if (word.value == "trusted") {
    target.options.xattr_namespace = XattrNamespace::kTrusted;
  } else if (word.value == "user") {
    target.options.xattr_namespace = XattrNamespace::kUser;
  } else {
    return bad_value(word, "use auto, trusted or user");
  }
  return std::nullopt;
}

MaybeFailure on_userxattr(const Word&, Target& target) {
  target.options.xattr_namespace = XattrNamespace::kUser;
  return std::nullopt;
}

MaybeFailure on_acl(const Word&, Target& target) {
  target.options.acl = Toggle::kOn;
  return std::nullopt;
}

template <std::vector<IdMapping> IdPolicy::*kMember>
MaybeFailure on_mapping(const Word& word, Target& target) {
  auto mappings = parse_id_mappings(word.value.value_or(""));
  if (!mappings) {
    return bad_value(word,
                     "use DISK:SHOWN:COUNT (ids on disk, ids that users see, how many); more "
                     "ranges follow after a colon");
  }
  target.options.ids.*kMember = std::move(*mappings);
  return std::nullopt;
}

MaybeFailure on_squash_to_root(const Word& word, Target& target) {
  const std::optional<Toggle> toggle = parse_toggle(word.value.value_or("on"));
  if (!toggle) {
    return bad_value(word, "use on or off");
  }
  const bool on = *toggle == Toggle::kOn;
  target.options.ids.squash_uid = on ? std::optional<uid_t>{0} : std::nullopt;
  target.options.ids.squash_gid = on ? std::optional<gid_t>{0} : std::nullopt;
  return std::nullopt;
}

template <std::optional<uid_t> IdPolicy::*kMember>
MaybeFailure on_squash_id(const Word& word, Target& target) {
  const auto id = parse_number(word.value.value_or(""));
  if (!id || *id == UINT32_MAX) {
    return bad_value(word, "give a numeric id");
  }
  target.options.ids.*kMember = *id;
  return std::nullopt;
}

MaybeFailure on_timeout(const Word& word, Target& target) {
  const auto seconds = parse_seconds(word.value.value_or(""));
  if (!seconds) {
    return bad_value(word, "give a number of seconds, 0 or more");
  }
  target.options.timeout_s = *seconds;
  return std::nullopt;
}

MaybeFailure on_threads(const Word& word, Target& target) {
  const auto threads = parse_number(word.value.value_or(""));
  if (!threads || *threads > kMostThreads) {
    return bad_value(word, "give 1 to 64, or 0 for one per processor");
  }
  target.options.threads = *threads;
  return std::nullopt;
}

MaybeFailure on_threaded(const Word& word, Target& target) {
  const std::optional<Toggle> toggle = parse_toggle(word.value.value_or("on"));
  if (!toggle) {
    return bad_value(word, "use 1 or 0; threads=N sets a number");
  }
  target.options.threads = *toggle == Toggle::kOn ? 0 : 1;
  return std::nullopt;
}

MaybeFailure on_fsname(const Word& word, Target& target) {
  target.options.fsname = unescape(word.value.value_or(""));
  return std::nullopt;
}

MaybeFailure on_subtype(const Word& word, Target& target) {
  target.options.subtype = unescape(word.value.value_or(""));
  return std::nullopt;
}

MaybeFailure on_debug(const Word&, Target& target) {
  target.options.debug = true;
  return std::nullopt;
}

MaybeFailure on_xattr_permissions(const Word& word, Target& target) {
  if (word.value == "0") {
    return std::nullopt;
  }
  return not_built(word, target, "owners and modes are those on disk");
}

MaybeFailure on_verity(const Word& word, Target& target) {
  if (word.value == "off") {
    return std::nullopt;
  }
  return not_built(word, target, "digests of layer data are not verified");
}

// A bad volume is never passed over: going on would show the layers' content in its place, and
// lose what is written there.
MaybeFailure on_volume(const Word& word, Target& target) {
  return add_volume(word.value.value_or(""), target.options);
}

MaybeFailure on_volumes_from(const Word& word, Target& target) {
  return add_volumes_from(unescape(word.value.value_or("")), target.options);
}

MaybeFailure on_strict_volumes(const Word& word, Target& target) {
  const std::optional<Toggle> toggle = parse_toggle(word.value.value_or("on"));
  if (!toggle) {
    return bad_value(word, "use on or off");
  }
  target.options.strict_volumes = *toggle == Toggle::kOn;
  return std::nullopt;
}

MaybeFailure on_volume_mode(const Word& word, Target& target) {
  if (word.value == "auto") {
    target.options.volume_mode = VolumeMode::kAuto;
  } else if (word.value == "fuse") {
    target.options.volume_mode = VolumeMode::kFuse;
  } else if (word.value == "bind") {
    target.options.volume_mode = VolumeMode::kBind;
  } else {
    return bad_value(word, "use auto, fuse or bind");
  }
  return std::nullopt;
}

constexpr std::string_view kConfigWord = "config=";

/// Who calls has read the file already.
MaybeFailure on_config(const Word& word, Target&) {
  return word.value.value_or("").empty() ? bad_value(word, "give the path of a file")
                                         : std::nullopt;
}

constexpr std::array<std::pair<std::string_view, Handler>, 42> kHandlers{{
    {"config", on_config},
    {"lowerdir", on_lowerdir},
    {"lowerdir+", on_lowerdir_append},
    {"datadir+", on_datadir_append},
    {"upperdir", on_upperdir},
    {"workdir", on_workdir},
    {"ro", on_ro},
    {"rw", on_rw},
    {"redirect_dir", on_redirect_dir},
    {"metacopy", on_toggle<&MountOptions::metacopy>},
    {"index", on_toggle<&MountOptions::index>},
    {"xino", on_xino},
    {"volatile", on_volatile},
    {"fsync", on_fsync},
    {"sync", on_sync},
    {"whiteout", on_whiteout},
    {"xattr", on_xattr},
    {"userxattr", on_userxattr},
    {"acl", on_acl},
    {"noacl", on_absence<&MountOptions::acl>},
    {"noxattrs", on_absence<&MountOptions::xattrs>},
    {"writeback", on_toggle<&MountOptions::writeback>},
    {"follow", on_toggle<&MountOptions::follow>},
    {"uring", on_toggle<&MountOptions::uring>},
    {"passthrough", on_toggle<&MountOptions::passthrough>},
    {"uidmapping", on_mapping<&IdPolicy::uids>},
    {"gidmapping", on_mapping<&IdPolicy::gids>},
    {"squash_to_root", on_squash_to_root},
    {"squash_to_uid", on_squash_id<&IdPolicy::squash_uid>},
    {"squash_to_gid", on_squash_id<&IdPolicy::squash_gid>},
    {"timeout", on_timeout},
    {"threads", on_threads},
    {"threaded", on_threaded},
    {"fsname", on_fsname},
    {"subtype", on_subtype},
    {"debug", on_debug},
    {"xattr_permissions", on_xattr_permissions},
    {"verity", on_verity},
    {"volume", on_volume},
    {"volumes-from", on_volumes_from},
    {"strict-volumes", on_strict_volumes},
    {"volume_mode", on_volume_mode},
}};

MaybeFailure on_unknown(const Word& word, Target& target) {
  if (target.unknown == UnknownWords::kRefuse) {
    std::vector<std::string> words;
    for (const auto& [name, handler] : kHandlers) {
      words.emplace_back(name);
    }
    return usage_failure(
        {"unknown option", word.text, Errno{EINVAL},
         suggestion(word.key, words, "remove it, or see 'plyfs mount --help' for the known ones")});
  }
  target.warnings.push_back("unknown argument ignored: " + shown(word.text));
  return std::nullopt;
}

MaybeFailure apply_word(std::string_view text, Target& target) {
  Word word{.text = text, .key = text, .value = std::nullopt};
  if (const std::size_t equals = text.find('='); equals != std::string_view::npos) {
    word.key = text.substr(0, equals);
    word.value = text.substr(equals + 1);
  }
  const auto* const known =
      std::ranges::find_if(kHandlers, [&](const auto& entry) { return entry.first == word.key; });
  if (known != kHandlers.end()) {
    return known->second(word, target);
  }
  if (!word.value && take_fuse_word(word.key, target.options.fuse_options)) {
    return std::nullopt;
  }
  if (word.key == "atime") {
    remove_word(target.options.fuse_options, "noatime");
  }
  return is_ignored_word(word.key) ? std::nullopt : on_unknown(word, target);
}

}  // namespace

std::optional<std::string> config_word(std::string_view text) {
  std::optional<std::string> file;
  for (const std::string& word : split_words(text)) {
    if (word.starts_with(kConfigWord) && word.size() > kConfigWord.size()) {
      file = unescape(std::string_view{word}.substr(kConfigWord.size()));
    }
  }
  return file;
}

std::optional<Failure> parse_options(std::string_view text, UnknownWords unknown,
                                     MountOptions& options, Warnings& warnings) {
  Target target{options, unknown, warnings};
  for (const std::string& word : split_words(text)) {
    if (MaybeFailure failure = apply_word(word, target)) {
      return failure;
    }
  }
  return std::nullopt;
}

std::optional<Failure> add_layer(LayerPath layer, MountOptions& options) {
  if (layer.path.empty()) {
    return usage_failure({"bad layer", "(empty path)", Errno{EINVAL}, "give a directory"});
  }
  if (options.lowers.size() >= kMostLayers) {
    return usage_failure(
        {"too many layers", layer.path, Errno{EINVAL}, "500 at most: merge some of them into one"});
  }
  const bool first = options.lowers.empty();
  if (layer.data_only && first) {
    return usage_failure({"bad layer order", layer.path, Errno{EINVAL},
                          "a data-only layer needs an ordinary layer before it"});
  }
  if (!layer.data_only && !first && options.lowers.back().data_only) {
    return usage_failure({"bad layer order", layer.path, Errno{EINVAL},
                          "ordinary layers come before all data-only ones (after '::')"});
  }
  options.lowers.push_back(std::move(layer));
  return std::nullopt;
}

void apply_defaults(Caller caller, MountOptions& options) {
  std::vector<std::string>& words = options.fuse_options;
  if (caller == Caller::kRoot) {
    if (!contains_word(words, "allow_root")) {
      (void)take_fuse_word("allow_other", words);
    }
    // As mount(2) has it: libfuse would forbid both.
    for (const auto& [word, refusal] : {std::pair{"suid", "nosuid"}, std::pair{"dev", "nodev"}}) {
      if (!contains_word(words, refusal)) {
        (void)take_fuse_word(word, words);
      }
    }
  } else {
    // fusermount3 never grants these to ordinary users, and says so on stderr each time.
    remove_word(words, "suid");
    remove_word(words, "dev");
  }
  if (options.upper && !options.work) {
    options.work = default_work_path(*options.upper);
  }
}

std::optional<std::string> default_work_path(std::string_view upper) {
  while (upper.ends_with('/')) {
    upper.remove_suffix(1);
  }
  const std::string_view last = upper.substr(upper.rfind('/') + 1);
  if (last.empty() || last == "." || last == "..") {
    return std::nullopt;
  }
  return std::string{upper} + ".work";
}

}  // namespace plyfs::config
