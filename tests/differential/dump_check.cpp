#include "dump_check.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "executor.h"
#include "run_program.h"

namespace plyfs::difftest {
namespace {

using Json = nlohmann::json;
using Found = std::optional<Difference>;

constexpr std::size_t kMostAsked = 30;  // paths given to `which`

std::string iso_time(timespec time) {
  std::tm parts{};
  std::array<char, 64> text{};
  ::gmtime_r(&time.tv_sec, &parts);
  std::string shown{text.data(),
                    std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts)};
  if (time.tv_nsec != 0) {
    std::snprintf(text.data(), text.size(), ".%09ld", time.tv_nsec);
    shown += text.data();
  }
  return shown + "Z";
}

const char* type_text(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "file";
    case S_IFDIR:
      return "directory";
    case S_IFLNK:
      return "symlink";
    case S_IFIFO:
      return "fifo";
    case S_IFSOCK:
      return "socket";
    case S_IFBLK:
      return "block device";
    default:
      return "char device";
  }
}

mode_t mode_of(const Json& version) {
  static const std::map<std::string, mode_t> kTypes = {
      {"file", S_IFREG},    {"directory", S_IFDIR},    {"symlink", S_IFLNK},    {"fifo", S_IFIFO},
      {"socket", S_IFSOCK}, {"block device", S_IFBLK}, {"char device", S_IFCHR}};
  const auto bits = std::strtoul(version.at("mode").get<std::string>().c_str(), nullptr, 8);
  return kTypes.at(version.at("type").get<std::string>()) | static_cast<mode_t>(bits);
}

/// What stat(2) would say, from what the dump says.
struct stat stat_of(const Json& version) {
  struct stat attributes {};
  attributes.st_mode = mode_of(version);
  attributes.st_uid = version.at("uid").get<uid_t>();
  attributes.st_gid = version.at("gid").get<gid_t>();
  attributes.st_nlink = version.at("nlink").get<nlink_t>();
  attributes.st_size = version.at("size").get<off_t>();
  if (version.contains("device")) {
    const std::string device = version["device"].get<std::string>();
    const std::size_t colon = device.find(':');
    const auto major_of = static_cast<unsigned>(std::stoul(device.substr(0, colon)));
    const auto minor_of = static_cast<unsigned>(std::stoul(device.substr(colon + 1)));
    attributes.st_rdev = makedev(major_of, minor_of);
  }
  return attributes;
}

/// Words without the count of links, which the index may give a file in the mount.
std::string without_links(const std::string& words) {
  const std::size_t links = words.find(" n");
  return links == std::string::npos
             ? words
             : words.substr(0, links) + words.substr(words.find(" s", links));
}

std::string xxh3_of(const std::string& bytes) {
  const XXH128_hash_t value = XXH3_128bits(bytes.data(), bytes.size());
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%016llx%016llx",
                static_cast<unsigned long long>(value.high64),
                static_cast<unsigned long long>(value.low64));
  return text.data();
}

class Check {
 public:
  Check(const std::vector<std::string>& command, const TreeDump& shown, std::string directory,
        std::string live)
      : command_(command),
        shown_(shown),
        directory_(std::move(directory)),
        live_(std::move(live)) {}

  Found run() {
    Json snapshot;
    if (Found failed = ask({"--json", "snapshot", "--digest"}, 0, snapshot)) return failed;
    if (!live_.empty() && Json::parse(live_, nullptr, false) != snapshot) {
      return differ("/", "the live mount's snapshot says something else:\n" + live_ +
                             "\nthan the one at rest:\n" + snapshot.dump());
    }
    for (const Json& layer : snapshot.at("layers")) {
      layers_[layer.at("layer").get<int>()] = unescaped(layer.at("directory").get<std::string>());
    }
    std::map<std::string, Json> entries;
    for (const Json& entry : snapshot.at("entries")) {
      const std::string path = unescaped(entry.at("path").get<std::string>()).substr(1);
      if (Found found = check_entry(path.empty() ? "." : path, entry)) return found;
      entries.emplace(path, entry);
    }
    for (const auto& [path, entry] : shown_.entries) {
      if (entries.count(path == "." ? "" : path) == 0) return differ(path, "the dump lacks it");
    }
    if (Found found = check_which(entries)) return found;
    return check_verify();
  }

 private:
  static Found differ(const std::string& path, const std::string& what) {
    return Difference{"dump", "plyfs-dump of " + shell_word(path) + ": " + what + "\n"};
  }

  /// Runs the program; `most` is the highest exit code that is no failure.
  Found ask(const std::vector<std::string>& arguments, int most, Json& answer) const {
    std::vector<std::string> words = command_;
    words.insert(words.end(), arguments.begin(), arguments.end());
    const ProgramEnd end = run_program(std::move(words), directory_ + "/dump.json");
    if (end.code > most) {
      return Difference{"dump/failed", "plyfs-dump " + arguments[1] + " exited with " +
                                           std::to_string(end.code) + "\n"};
    }
    answer = Json::parse(end.out, nullptr, false);
    if (!answer.is_object()) return Difference{"dump/json", "plyfs-dump printed no JSON\n"};
    return std::nullopt;
  }

  /// The path of a version on the disk.
  [[nodiscard]] std::string place_of(const Json& version) const {
    const std::string& layer = layers_.at(version.at("layer").get<int>());
    if (version.contains("index_entry")) {
      // The work directory is the upper's sibling (Session::prepare()).
      return layer.substr(0, layer.rfind('/')) + "/work/index/" +
             version["index_entry"].get<std::string>();
    }
    return layer + unescaped(version.at("path").get<std::string>());
  }

  Found check_entry(const std::string& path, const Json& entry) const {
    const auto shown = shown_.entries.find(path);
    const bool found = entry.at("found").get<bool>();
    if (found != (shown != shown_.entries.end())) {
      return differ(path, found ? "found, and the mount does not show it"
                                : "not found, but the mount shows it: " + entry.dump());
    }
    const Json* seen = nullptr;
    const Json* data = nullptr;
    for (const Json& version : entry.at("versions")) {
      if (Found wrong = check_version(path, version)) return wrong;
      const std::string state = version.at("state").get<std::string>();
      if (state == "seen") seen = &version;
      if (state == "data") data = &version;
    }
    if (!found) {
      return seen == nullptr ? std::nullopt : differ(path, "a version is seen, but nothing found");
    }
    if (seen == nullptr) return differ(path, "nothing is seen");
    return check_seen(path, *seen, seen->contains("metacopy") ? data : seen, shown->second);
  }

  Found check_seen(const std::string& path, const Json& seen, const Json* data,
                   const TreeEntry& shown) const {
    const struct stat attributes = stat_of(seen);
    if (without_links(stat_words(attributes)) != without_links(shown.words)) {
      return differ(path, "seen as \"" + stat_words(attributes) + "\", the mount shows \"" +
                              shown.words + "\"");
    }
    if (seen.at("mtime") != iso_time(shown.mtime)) {
      return differ(path, "seen with mtime " + seen.at("mtime").dump() + ", the mount shows " +
                              iso_time(shown.mtime));
    }
    if (S_ISLNK(attributes.st_mode) &&
        unescaped(seen.at("target").get<std::string>()) != shown.content) {
      return differ(path, "another target than the mount shows");
    }
    if (!S_ISREG(attributes.st_mode)) return std::nullopt;
    if (data == nullptr) return differ(path, "no version gives its data");
    if (digest(read_whole(place_of(*data))) != shown.content) {
      return differ(path, "the version whose data is seen has other data than the mount shows");
    }
    return std::nullopt;
  }

  /// What is said to hide a version is there, in that layer or one above.
  Found check_reason(const std::string& path, const Json& version) const {
    if (!version.contains("reason")) return differ(path, "hidden without a reason");
    const Json& reason = version["reason"];
    const std::string cause = reason.at("cause").get<std::string>();
    if (cause == "indexed" || cause == "volume" || cause == "data-only") return std::nullopt;
    const int layer = reason.at("layer").get<int>();
    if (layer > version.at("layer").get<int>()) return differ(path, "hidden by a layer below it");
    const std::string name = unescaped(reason.at("path").get<std::string>());
    const std::string place = layers_.at(layer) + name;
    const std::size_t slash = place.rfind('/');
    const std::string aufs = place.substr(0, slash) + "/.wh." + place.substr(slash + 1);
    struct stat attributes {};
    const bool is_there = ::lstat(place.c_str(), &attributes) == 0;
    const auto has = [&](const std::string& mark) {
      return ::lgetxattr(place.c_str(), mark.c_str(), nullptr, 0) >= 0;
    };
    bool hides = is_there;  // shadowed, redirected, host-mount
    if (cause == "whiteout") {
      const bool device = is_there && S_ISCHR(attributes.st_mode) && attributes.st_rdev == 0;
      const bool empty = is_there && S_ISREG(attributes.st_mode) && attributes.st_size == 0 &&
                         (has("trusted.overlay.whiteout") || has("user.overlay.whiteout"));
      hides = device || empty || ::access(aufs.c_str(), F_OK) == 0;
    } else if (cause == "whiteout-beside") {
      hides = ::access(aufs.c_str(), F_OK) == 0;
    } else if (cause == "opaque") {
      const std::string mark = unescaped(reason.at("mark").get<std::string>());
      hides = has(mark) || ::access((place + "/" + mark).c_str(), F_OK) == 0;
    }
    return hides ? std::nullopt : differ(path, "nothing there hides it: " + version.dump());
  }

  /// Seen or hidden: what the dump says of it is what lies in the layer.
  Found check_version(const std::string& path, const Json& version) const {
    if (version.at("state") == "whiteout") return std::nullopt;
    if (version.at("state") == "hidden") {
      if (Found wrong = check_reason(path, version)) return wrong;
    }
    const std::string place = place_of(version);
    struct stat attributes {};
    if (::lstat(place.c_str(), &attributes) != 0) {
      return differ(path, "no version in the layer: " + place + ": " + std::strerror(errno));
    }
    const struct stat told = stat_of(version);
    if (stat_words(told) != stat_words(attributes) ||
        version.at("type") != type_text(attributes.st_mode) ||
        version.at("mtime") != iso_time(attributes.st_mtim)) {
      return differ(path, "not as in the layer: " + version.dump());
    }
    if (S_ISLNK(attributes.st_mode)) {
      std::string target(PATH_MAX, '\0');
      const ssize_t length = ::readlink(place.c_str(), target.data(), target.size());
      target.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
      if (unescaped(version.at("target").get<std::string>()) != target) {
        return differ(path, "not the target in the layer: " + version.dump());
      }
    }
    if (S_ISREG(attributes.st_mode) && !version.contains("metacopy") &&
        version.at("xxh3") != xxh3_of(read_whole(place))) {
      return differ(path, "not the content in the layer: " + version.dump());
    }
    return std::nullopt;
  }

  Found check_which(const std::map<std::string, Json>& entries) const {
    std::vector<std::string> arguments = {"--json", "which", "--digest"};
    std::vector<const Json*> expected;
    const std::size_t step = 1 + entries.size() / kMostAsked;
    std::size_t at = 0;
    for (const auto& [path, entry] : entries) {
      if (at++ % step != 0) continue;
      arguments.push_back("/" + path);
      expected.push_back(&entry);
    }
    Json which;
    if (Found failed = ask(arguments, 0, which)) return failed;
    const Json& paths = which.at("paths");
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (i >= paths.size() || paths[i] != *expected[i]) {
        return differ(arguments[3 + i], "which says " + (i < paths.size() ? paths[i].dump() : "") +
                                            ", the snapshot " + expected[i]->dump());
      }
    }
    return std::nullopt;
  }

  Found check_verify() const {
    constexpr int kLeft = 4;  // what an fsck reports, harmless whiteouts over nothing among them
    Json verify;
    if (Found failed = ask({"--json", "verify"}, kLeft, verify)) return failed;
    for (const Json& finding : verify.at("findings")) {
      if (finding.at("weight") == "error") {
        return differ(finding.at("path").get<std::string>(), "verify: " + finding.dump());
      }
    }
    return std::nullopt;
  }

  const std::vector<std::string>& command_;
  const TreeDump& shown_;
  const std::string directory_;
  const std::string live_;
  std::map<int, std::string> layers_;
};

}  // namespace

Found check_dump(const std::vector<std::string>& command, const TreeDump& shown,
                 const std::string& directory, const std::string& live) {
  try {
    return Check{command, shown, directory, live}.run();
  } catch (const std::exception& error) {  // a member is missing, or of another type
    return Difference{"dump/json", std::string{"plyfs-dump's JSON: "} + error.what() + "\n"};
  }
}

}  // namespace plyfs::difftest
