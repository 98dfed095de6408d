#include "image_check.h"

#include <sys/stat.h>

#include <iterator>
#include <utility>
#include <vector>

#include "diff_check.h"
#include "run_program.h"

namespace plyfs::difftest {
namespace {

using Found = std::optional<Difference>;

/// Of directories: a commit holds no directory of which only the time has changed, as docker's.
void forget_directory_times(TreeDump& tree) {
  for (auto& [path, entry] : tree.entries) {
    if (entry.words.compare(0, 4, "dir ") == 0) entry.mtime = {};
  }
}

/// Of what takes no user.* xattrs: convert to userxattr leaves them out (N-64).
void forget_marks_of_specials(TreeDump& tree) {
  for (auto& [path, entry] : tree.entries) {
    if (entry.words.compare(0, 4, "reg ") == 0 || entry.words.compare(0, 4, "dir ") == 0) continue;
    for (auto at = entry.xattrs.begin(); at != entry.xattrs.end();) {
      at = at->first.find("overlay.") == std::string::npos ? std::next(at) : entry.xattrs.erase(at);
    }
  }
}

/// Without counts of links: in the mount a file keeps the links that are hidden, a tree that was
/// written elsewhere has the names that were seen.
TreeDump without_link_counts(TreeDump tree) {
  for (auto& [path, entry] : tree.entries) {
    const std::size_t links = entry.words.find(" n");
    if (links != std::string::npos) {
      entry.words.erase(links, entry.words.find(" s", links) - links);
    }
  }
  return tree;
}

class Check {
 public:
  Check(const ImageTools& tools, const TreeDump& shown)
      : tools_(tools), shown_(without_link_counts(shown)) {}

  Found run() {
    if (Found found = flatten()) return found;
    if (Found found = diff()) return found;
    if (Found found = commit()) return found;
    for (std::size_t i = 0; i < tools_.stack.lowers.size(); ++i) {
      if (Found found = convert(tools_.stack.lowers[i], std::to_string(i))) return found;
    }
    return convert(tools_.stack.upper, "upper");
  }

 private:
  Found plyfs(std::vector<std::string> words, const std::vector<std::string>& more) const {
    words.insert(words.end(), more.begin(), more.end());
    const ProgramEnd end = run_program(words, tools_.directory + "/out");
    if (end.code == 0) return std::nullopt;
    return Difference{"image/failed", "plyfs " + words[1] + " " + words.back() + " exited with " +
                                          std::to_string(end.code) + "\n"};
  }

  Found flatten() const {
    const std::string target = tools_.directory + "/flat";
    if (Found failed = plyfs(tools_.subject.command("flatten", tools_.stack), {target})) {
      return failed;
    }
    TreeRules rules;
    rules.hard_links = HardLinks::kIgnored;
    return compare_trees(shown_, without_link_counts(tools_.dump(target)), "after flatten", rules);
  }

  /// What the mount showed, against the lower layers alone, by docker's rules.
  Found diff() const {
    const std::string target = tools_.directory + "/lowers";
    std::string layers = "lowerdir=";
    for (const std::string& lower : tools_.stack.lowers) {
      layers += (layers.back() == '=' ? "" : ":") + lower;
    }
    if (Found failed = plyfs({tools_.subject.program(), "flatten"}, {"-o", layers, target})) {
      return failed;
    }
    std::vector<std::string> words = tools_.subject.command("diff", tools_.stack);
    words.emplace_back("--json");
    const ProgramEnd end = run_program(std::move(words), tools_.directory + "/out");
    if (end.code != 0) {
      return Difference{"image/failed",
                        "plyfs diff exited with " + std::to_string(end.code) + "\n"};
    }
    return compare_changes(docker_changes(without_link_counts(tools_.dump(target)), shown_),
                           end.out);
  }

  /// A hard link breaks where one of its names is copied to the new layer: links are not compared.
  Found commit() const {
    const std::string layer = tools_.directory + "/layer";
    if (Found failed = plyfs(tools_.subject.command("commit", tools_.stack),
                             {"--format", tools_.format, layer})) {
      return failed;
    }
    Stack stack = tools_.stack;
    stack.lowers.insert(stack.lowers.begin(), layer);
    for (const auto& [part, path] : {std::pair<const char*, std::string*>{"/up", &stack.upper},
                                     {"/work", &stack.work},
                                     {"/mnt", &stack.mountpoint}}) {
      *path = tools_.directory + part;
      ::mkdir(path->c_str(), 0755);
    }
    // The root is the upper's: it must say what the layer's says.
    struct stat root {};
    ::stat(layer.c_str(), &root);
    ::chmod(stack.upper.c_str(), root.st_mode & 07777U);
    (void)!::chown(stack.upper.c_str(), root.st_uid, root.st_gid);
    if (std::string error = tools_.reader.mount(stack); !error.empty()) {
      return Difference{"image/mount", "the kernel over a committed layer: " + error + "\n"};
    }
    TreeDump dump = without_link_counts(tools_.dump(stack.mountpoint));
    if (std::string error = tools_.reader.unmount(stack.mountpoint); !error.empty()) {
      return Difference{"image/mount", "the kernel over a committed layer: " + error + "\n"};
    }
    TreeDump expected = shown_;
    expected.entries["."] = dump.entries["."];
    forget_directory_times(expected);
    forget_directory_times(dump);
    TreeRules rules;
    rules.hard_links = HardLinks::kIgnored;
    return compare_trees(expected, dump, "when the kernel shows a committed layer", rules);
  }

  Found convert(const std::string& layer, const std::string& name) const {
    const auto step = [&](const std::string& from, const std::string& format,
                          const std::string& to) {
      return plyfs({tools_.subject.program(), "convert"},
                   {from, "--to", format, "--userxattr", to});
    };
    // First of all in one family, whatever the layer was drawn in.
    const std::string first = tools_.directory + "/first" + name;
    if (Found failed = step(layer, tools_.format, first)) return failed;
    const TreeDump expected = tools_.dump(first);
    std::vector<std::vector<std::string>> ways = {{"aufs"}};
    if (tools_.format == "overlay") {
      ways.insert(ways.end(), {{"userxattr"}, {"aufs", "userxattr"}, {"userxattr", "aufs"}});
    }
    for (std::size_t i = 0; i < ways.size(); ++i) {
      const std::vector<std::string>& way = ways[i];
      std::string there = first;
      bool has_words = true;
      TreeDump told = expected;
      for (const std::string& format : way) {
        const std::string from = there;
        there += "-" + std::to_string(i) + format;
        const ProgramEnd end = run_program(
            {tools_.subject.program(), "convert", from, "--to", format, "--userxattr", there},
            tools_.directory + "/out");
        // Redirects and metadata-only files: aufs has no words for them.
        constexpr int kSystemError = 2;
        has_words = format != "aufs" || end.code != kSystemError || !has_redirects(expected);
        if (!has_words) break;
        if (end.code != 0) {
          return Difference{"image/failed", "plyfs convert --to " + format + " exited with " +
                                                std::to_string(end.code) + "\n"};
        }
        if (format == "userxattr") forget_marks_of_specials(told);
      }
      if (!has_words) continue;
      if (Found failed = step(there, tools_.format, there + "-back")) return failed;
      if (Found found = compare_trees(told, tools_.dump(there + "-back"),
                                      "after convert through " + way.front() + " and back", {})) {
        return found;
      }
    }
    return std::nullopt;
  }

  static bool has_redirects(const TreeDump& tree) {
    for (const auto& [path, entry] : tree.entries) {
      for (const auto& [name, value] : entry.xattrs) {
        if (name.find("overlay.redirect") != std::string::npos ||
            name.find("overlay.metacopy") != std::string::npos) {
          return true;
        }
      }
    }
    return false;
  }

  const ImageTools& tools_;
  const TreeDump shown_;
};

}  // namespace

Found check_images(const ImageTools& tools, const TreeDump& shown) {
  return Check{tools, shown}.run();
}

}  // namespace plyfs::difftest
