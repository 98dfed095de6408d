// The commit point: each change of the upper fails in turn, once or from then on. What a verb
// answers, what the mount then shows, and what the next mount shows must be one story: refused and
// all as before, or done and all as after. What fails after the visible moment is not told.
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <functional>

#include "catch.h"
#include "child.h"
#include "ops/test_mount.h"
#include "sys/dir_ops.h"

namespace plyfs::test {
namespace {

void put(const std::string& path, const std::string& content) { std::ofstream{path} << content; }

void make_dir(const std::string& path) { REQUIRE(::mkdir(path.c_str(), 0755) == 0); }

/// Files in all rooms: lower, upper, merged, hard-linked, whited out by each family.
void draw(TestMount& mount, bool char_devices) {
  for (const unsigned layer : {1U, 2U}) {
    make_dir(mount.layer(layer, "m"));
    make_dir(mount.layer(layer, "m/deep"));
  }
  make_dir(mount.layer(1, "low"));
  put(mount.layer(1, "low/f"), std::string(50'000, 'f'));
  put(mount.layer(1, "low/g"), "g");
  put(mount.layer(1, "low/k"), "k");
  REQUIRE(::setxattr(mount.layer(1, "low/k").c_str(), "user.k", "v", 1, 0) == 0);
  REQUIRE(::link(mount.layer(1, "low/f").c_str(), mount.layer(1, "low/h").c_str()) == 0);
  REQUIRE(::link(mount.layer(1, "low/f").c_str(), mount.layer(1, "m/h").c_str()) == 0);
  put(mount.layer(1, "low/suid"), "s");
  REQUIRE(::chmod(mount.layer(1, "low/suid").c_str(), 04755) == 0);
  REQUIRE(::symlink("f", mount.layer(1, "low/l").c_str()) == 0);
  make_dir(mount.layer(1, "low/empty"));
  put(mount.layer(1, "m/top"), "t");
  put(mount.layer(2, "m/low"), "l");
  put(mount.layer(2, "m/deep/x"), "x");
  put(mount.layer(2, "w"), "w");
  make_dir(mount.layer(2, "wd"));
  put(mount.layer(2, "wd/x"), "below");
  make_dir(mount.layer(2, "hollow"));
  put(mount.layer(2, "hollow/x"), "whited out");
  for (const char* name : {"m", "up", "up/d", "hollow"}) {
    make_dir(mount.layer(0, name));
  }
  put(mount.layer(0, "m/up"), "u");
  put(mount.layer(0, "up/f"), "upper");
  put(mount.layer(0, "up/one"), "1");
  REQUIRE(::link(mount.layer(0, "up/one").c_str(), mount.layer(0, "up/two").c_str()) == 0);
  for (const char* name : {"w", "wd", "hollow/x"}) {
    std::string path = mount.layer(0, name);
    if (char_devices) {
      REQUIRE(::mknod(path.c_str(), S_IFCHR, 0) == 0);
    } else {
      put(path.insert(path.rfind('/') + 1, ".wh."), "");
    }
  }
}

struct FaultVerb {
  const char* name;
  std::function<std::string(TestMount&)> change;
  /// What happened before: by the same mount, undisturbed.
  std::function<void(TestMount&)> before = {};
};

using Mount = TestMount;

void rename_first(Mount& m) {
  REQUIRE(m.rename("low/h", "up/moved") == "ok");
  REQUIRE(m.rename("low/g", "up/f") == "ok");
}

void change_link(Mount& m) { REQUIRE(m.chmod("low/f", 0600) == "ok"); }

const std::vector<FaultVerb> kVerbs = {
    {"write a lower file", [](Mount& m) { return m.write("low/f", "W"); }},
    {"write a lower file with one name", [](Mount& m) { return m.write("low/g", "W"); }},
    {"write what has its metadata only", [](Mount& m) { return m.write("low/k", "W"); },
     [](Mount& m) { REQUIRE(m.chmod("low/k", 0600) == "ok"); }},
    {"write what has its bits", [](Mount& m) { return m.write("low/suid", "W"); }},
    {"truncate a lower file", [](Mount& m) { return m.truncate("low/g", 0); }},
    {"truncate a part", [](Mount& m) { return m.truncate("low/f", 30'000); }},
    {"extend a lower file", [](Mount& m) { return m.truncate("low/g", 70'000); }},
    {"truncate an upper file", [](Mount& m) { return m.truncate("up/f", 2); }},
    {"truncate what has its metadata only", [](Mount& m) { return m.truncate("low/k", 0); },
     [](Mount& m) { REQUIRE(m.chmod("low/k", 0600) == "ok"); }},
    {"fallocate a lower file", [](Mount& m) { return m.fallocate("low/g", 5000); }},
    {"chown a lower file", [](Mount& m) { return m.chown("low/suid", ::geteuid()); }},
    {"chmod a lower file", [](Mount& m) { return m.chmod("low/g", 0600); }},
    {"chmod a lower hard link", [](Mount& m) { return m.chmod("low/h", 0600); }},
    {"chmod a lower directory", [](Mount& m) { return m.chmod("m/deep", 0700); }},
    {"setxattr", [](Mount& m) { return m.setxattr("low/g", "user.new", "n"); }},
    {"removexattr", [](Mount& m) { return m.removexattr("low/k", "user.k"); }},
    {"create", [](Mount& m) { return m.create("low/new"); }},
    {"create over a whiteout", [](Mount& m) { return m.create("w"); }},
    {"create over a whiteout of a directory", [](Mount& m) { return m.create("wd"); }},
    {"mkdir", [](Mount& m) { return m.mkdir("m/deep/new"); }},
    {"mkdir over a whiteout", [](Mount& m) { return m.mkdir("w"); }},
    {"mkdir over a whiteout of a directory", [](Mount& m) { return m.mkdir("wd"); }},
    {"mknod", [](Mount& m) { return m.mknod("low/new", S_IFIFO | 0600); }},
    {"symlink", [](Mount& m) { return m.symlink("x", "m/new"); }},
    {"symlink over a whiteout", [](Mount& m) { return m.symlink("x", "w"); }},
    {"link a lower file", [](Mount& m) { return m.link("low/g", "up/link"); }},
    {"link a lower hard link", [](Mount& m) { return m.link("low/h", "up/link"); }},
    {"link a changed hard link", [](Mount& m) { return m.link("low/h", "m/link"); }, change_link},
    {"link an upper file", [](Mount& m) { return m.link("up/f", "m/link"); }},
    {"link over a whiteout", [](Mount& m) { return m.link("up/f", "w"); }},
    {"link a lower file over a whiteout", [](Mount& m) { return m.link("low/f", "w"); }},
    {"unlink a lower file", [](Mount& m) { return m.unlink("low/g"); }},
    {"unlink a lower hard link", [](Mount& m) { return m.unlink("low/h"); }},
    {"unlink a changed hard link", [](Mount& m) { return m.unlink("low/h"); }, change_link},
    {"unlink the name that was changed", [](Mount& m) { return m.unlink("low/f"); }, change_link},
    {"unlink the last of the hard links", [](Mount& m) { return m.unlink("low/f"); },
     [](Mount& m) {
       REQUIRE(m.unlink("low/h") == "ok");
       REQUIRE(m.unlink("m/h") == "ok");
     }},
    {"unlink an upper file", [](Mount& m) { return m.unlink("up/f"); }},
    {"unlink an upper hard link", [](Mount& m) { return m.unlink("up/one"); }},
    {"unlink an upper file over a lower one", [](Mount& m) { return m.unlink("low/g"); },
     [](Mount& m) { REQUIRE(m.write("low/g", "W") == "ok"); }},
    {"rmdir a lower directory", [](Mount& m) { return m.rmdir("low/empty"); }},
    {"rmdir an upper directory", [](Mount& m) { return m.rmdir("up/d"); }},
    {"rmdir a directory of whiteouts", [](Mount& m) { return m.rmdir("hollow"); }},
    {"rename a lower file", [](Mount& m) { return m.rename("low/g", "m/deep/moved"); }},
    {"rename an upper file", [](Mount& m) { return m.rename("up/f", "m/moved"); }},
    {"rename an upper file over an upper one", [](Mount& m) { return m.rename("up/f", "m/up"); }},
    {"rename an upper file over a lower one", [](Mount& m) { return m.rename("up/f", "low/g"); }},
    {"rename a lower file over an upper one", [](Mount& m) { return m.rename("low/g", "up/f"); }},
    {"rename a lower file over a lower one", [](Mount& m) { return m.rename("low/g", "m/low"); }},
    {"rename a lower hard link", [](Mount& m) { return m.rename("low/h", "m/moved"); }},
    {"rename a changed hard link", [](Mount& m) { return m.rename("low/h", "m/moved"); },
     change_link},
    {"rename over a lower hard link", [](Mount& m) { return m.rename("up/f", "low/h"); }},
    {"rename over a changed hard link", [](Mount& m) { return m.rename("up/f", "low/h"); },
     change_link},
    {"rename over the last of the hard links", [](Mount& m) { return m.rename("up/f", "low/f"); },
     [](Mount& m) {
       REQUIRE(m.unlink("low/h") == "ok");
       REQUIRE(m.unlink("m/h") == "ok");
     }},
    {"rename over an upper hard link", [](Mount& m) { return m.rename("up/f", "up/one"); }},
    {"rename over a whiteout", [](Mount& m) { return m.rename("low/g", "w"); }},
    {"rename an upper file over a whiteout", [](Mount& m) { return m.rename("up/f", "wd"); }},
    {"rename back", [](Mount& m) { return m.rename("up/moved", "low/h"); }, rename_first},
    {"rename to where it came from", [](Mount& m) { return m.rename("up/f", "low/g"); },
     rename_first},
    {"rename a lower directory", [](Mount& m) { return m.rename("low", "up/moved"); }},
    {"rename a merged directory", [](Mount& m) { return m.rename("m", "moved"); }},
    {"rename a merged directory below", [](Mount& m) { return m.rename("m/deep", "up/moved"); }},
    {"rename an upper directory", [](Mount& m) { return m.rename("up", "m/moved"); }},
    {"rename a directory over a whiteout", [](Mount& m) { return m.rename("m", "w"); }},
    {"rename a directory over a whiteout of one", [](Mount& m) { return m.rename("up", "wd"); }},
    {"rename a merged directory over a whiteout of one",
     [](Mount& m) { return m.rename("m", "wd"); }},
    {"rename a directory over an empty one", [](Mount& m) { return m.rename("m", "low/empty"); }},
    {"rename a directory over an upper one", [](Mount& m) { return m.rename("m", "up/d"); }},
    {"rename a directory over one of whiteouts", [](Mount& m) { return m.rename("m", "hollow"); }},
    {"rename an upper directory over one of whiteouts",
     [](Mount& m) { return m.rename("up", "hollow"); }},
    {"exchange a file and a directory",
     [](Mount& m) { return m.rename("low/g", "m", sys::kRenameExchange); }},
    {"exchange lower files",
     [](Mount& m) { return m.rename("low/g", "low/k", sys::kRenameExchange); }},
    {"exchange upper and lower",
     [](Mount& m) { return m.rename("up/f", "low/g", sys::kRenameExchange); }},
    {"exchange directories", [](Mount& m) { return m.rename("low", "m", sys::kRenameExchange); }},
    {"exchange an upper and a merged directory",
     [](Mount& m) { return m.rename("up/d", "m/deep", sys::kRenameExchange); }},
    {"exchange hard links",
     [](Mount& m) { return m.rename("low/h", "up/one", sys::kRenameExchange); }},
    {"exchange changed hard links",
     [](Mount& m) { return m.rename("low/h", "low/g", sys::kRenameExchange); }, change_link},
};

/// Held open by somebody: the content of each file must stay what it was.
using Held = std::map<std::string, std::pair<node::NodeRef, std::string>>;

constexpr const char* kFiles[] = {"low/f", "low/g", "low/h", "low/k",  "m/top",
                                  "m/low", "m/up",  "up/f",  "up/one", "m/deep/x"};

void hold_all(TestMount& mount, Held& held) {
  for (const char* const path : kFiles) {
    if (auto node = mount.walk(path)) {
      std::string content = mount.read(**node);
      held.emplace(path, std::make_pair(*std::move(node), std::move(content)));
    }
  }
}

std::string lost(TestMount& mount, const Held& held) {
  std::string text;
  for (const auto& [path, file] : held) {
    std::string now = mount.read(*file.first);
    if (!now.empty() && !file.second.empty() && now[0] == 'W') {
      now[0] = file.second[0];  // what a verb has written
    }
    if (now != file.second) {
      text += path + ": " + now.substr(0, 40) + "\n";
    }
  }
  return text;
}

bool resizes(const FaultVerb& verb) {
  const std::string_view name{verb.name};
  return name.starts_with("truncate") || name.starts_with("extend") ||
         name.starts_with("fallocate");
}

struct Disturbance {
  std::uint64_t number;
  int error;
  layer::UpperWriter::Fails fails;
  bool warm;  ///< all is known and open before, as to a kernel that has seen the tree
};

class Faults {
 public:
  Faults(const MountKind& kind, bool char_devices) : kind_(kind), char_devices_(char_devices) {}

  void try_everywhere(const FaultVerb& verb, layer::UpperWriter::Fails fails, bool warm) {
    static constexpr int kErrors[] = {EIO, ENOSPC, EDQUOT};
    constexpr std::uint64_t kMost = 60;
    const Trees trees = undisturbed(verb);
    for (std::uint64_t number = 1;; ++number) {
      REQUIRE(number < kMost);
      if (!disturb(verb, {number, kErrors[number % 3], fails, warm}, trees)) {
        return;
      }
    }
  }

  [[nodiscard]] int steps() const { return steps_; }
  [[nodiscard]] int differing() const { return differing_; }

 private:
  struct Trees {
    Tree before;
    Tree after;
  };

  Trees undisturbed(const FaultVerb& verb) {
    Trees trees;
    TestMount mount{kind_, 2};
    begin(mount, verb);
    trees.before = mount.tree();
    REQUIRE(verb.change(mount) == "ok");
    const Tree live = mount.tree();
    mount.restart();
    CAPTURE(verb.name, kind_.name);
    CHECK(difference(paths_of(live), paths_of(mount.tree())) == "");
    trees.after = live;
    return trees;
  }

  void begin(TestMount& mount, const FaultVerb& verb) const {
    draw(mount, char_devices_);
    mount.start();
    if (verb.before) {
      verb.before(mount);
      mount.restart();
    }
  }

  static Tree without(Tree tree, const std::string& word) {
    for (auto& [path, what] : tree) {
      const std::size_t at = what.find(" " + word + "=");
      if (at != std::string::npos) {
        const std::size_t end = what.find(' ', at + 1);
        what.erase(at, end == std::string::npos ? end : end - at);
      }
    }
    return tree;
  }
  /// Without inode numbers, which a new object gets as it comes.
  static Tree paths_of(Tree tree) { return without(std::move(tree), "ino"); }
  /// Where nothing can be undone either, an emptied directory may have become another, and a file
  /// have got a name that only the index of hard links knows.
  static Tree compared(const Tree& tree, layer::UpperWriter::Fails fails) {
    return fails == layer::UpperWriter::Fails::kOnce ? tree : without(paths_of(tree), "links");
  }

  /// False when there was nothing left to disturb.
  bool disturb(const FaultVerb& verb, const Disturbance& how, const Trees& trees) {
    TestMount mount{kind_, 2};
    begin(mount, verb);
    Held held;
    if (how.warm) {
      (void)mount.tree();
      hold_all(mount, held);
    }
    const std::uint64_t first = mount.writer().changes();
    mount.writer().fail_at(how.number, how.error, how.fails);
    const std::string result = verb.change(mount);
    const std::uint64_t made = mount.writer().changes() - first;
    mount.writer().fail_at(0, 0, layer::UpperWriter::Fails::kOnce);
    mount.workdir().tidy();  // as whoever stages something next
    if (made < how.number) {
      return false;
    }
    ++steps_;
    const Tree live = mount.tree();
    const std::string gone = lost(mount, held);
    held.clear();
    mount.restart();
    const Tree again = mount.tree();
    const std::string live_and_told =
        difference(compared(paths_of(result == "ok" ? trees.after : trees.before), how.fails),
                   compared(paths_of(live), how.fails));
    const std::string live_and_again =
        difference(compared(live, how.fails), compared(again, how.fails));
    const bool lasting = how.fails == layer::UpperWriter::Fails::kLasting;
    CAPTURE(kind_.name, verb.name, how.number, lasting, how.warm, result);
    differing_ += live_and_told.empty() && live_and_again.empty() ? 0 : 1;
    CHECK(live_and_told == "");
    CHECK(live_and_again == "");
    CHECK((gone.empty() || (result == "ok" && resizes(verb))));
    return true;
  }

  const MountKind kind_;
  const bool char_devices_;
  int steps_ = 0;
  int differing_ = 0;
};

bool can_make_whiteout_devices() {
  const Workspace space{"/dev/shm"};
  return ::mknod(space.path("probe").c_str(), S_IFCHR, 0) == 0;
}

const MountKind kKinds[] = {
    {.name = "char", .whiteouts = WhiteoutFamily::kChar, .one_step = true},
    {.name = "aufs", .whiteouts = WhiteoutFamily::kAufs, .one_step = true},
    {.name = "xattr", .whiteouts = WhiteoutFamily::kXattr},
    {.name = "char without exchange",
     .whiteouts = WhiteoutFamily::kChar,
     .exchange = false,
     .rename_whiteout = false},
};

TEST_CASE("what a verb answers, the mount shows and the next mount shows is one story",
          "[ops][faults]") {
  using Fails = layer::UpperWriter::Fails;
  const bool devices = can_make_whiteout_devices();
  for (const MountKind& kind : kKinds) {
    if (kind.whiteouts == WhiteoutFamily::kChar && !devices) {
      skip("whiteout devices cannot be made here");
      continue;
    }
    Faults faults{kind, kind.whiteouts == WhiteoutFamily::kChar};
    for (const FaultVerb& verb : kVerbs) {
      if (!kind.exchange && std::string_view{verb.name}.starts_with("exchange")) {
        continue;
      }
      faults.try_everywhere(verb, Fails::kOnce, false);
      faults.try_everywhere(verb, Fails::kOnce, true);
      if (kind.one_step) {
        faults.try_everywhere(verb, Fails::kLasting, true);
      }
    }
    WARN(kind.name << ": " << faults.differing() << " of " << faults.steps() << " steps differ");
    CHECK(faults.differing() == 0);
  }
}

}  // namespace
}  // namespace plyfs::test
