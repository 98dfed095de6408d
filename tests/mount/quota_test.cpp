// An upper over its quota: btrfs refuses each step of a change that takes space with EDQUOT.
#include <map>

#include "filesystems.h"
#include "verbs.h"

namespace plyfs::tests {
namespace {

constexpr std::uint64_t kFirstRoom_bytes = std::uint64_t{16} << 10U;  // one block of metadata
constexpr std::uint64_t kLastRoom_bytes = std::uint64_t{8} << 20U;    // enough for every verb

void must_run(const Arguments& command) {
  const Ran ran = run(command);
  INFO(command[0] << ": " << ran.err);
  REQUIRE(ran.exit_code == 0);
}

/// The quota of the only subvolume of the btrfs at `place`.
class Quota {
 public:
  explicit Quota(std::string place) : place_(std::move(place)) {
    must_run({"btrfs", "quota", "enable", place_});
    must_run({"btrfs", "quota", "rescan", "-w", place_});
  }
  /// Leaves room for `bytes` more than there are now; 0: for less.
  void leave(std::uint64_t bytes) const {
    lift();
    must_run({"btrfs", "filesystem", "sync", place_});
    must_run({"btrfs", "qgroup", "limit", bytes == 0 ? "1" : std::to_string(used_bytes() + bytes),
              subvolume_, place_});
  }
  void lift() const { must_run({"btrfs", "qgroup", "limit", "none", subvolume_, place_}); }

 private:
  [[nodiscard]] std::uint64_t used_bytes() const {
    const Ran shown = run({"btrfs", "qgroup", "show", "--raw", place_});
    const std::size_t at = shown.out.find(subvolume_ + " ");
    REQUIRE(at != std::string::npos);
    return std::stoull(shown.out.substr(at + subvolume_.size()));
  }
  std::string place_;
  const std::string subvolume_ = "0/256";  // the first id that btrfs gives
};

/// Tries the verb with ever more room until it succeeds; a try that fails leaves the tree as it
/// was. Returns what the first one answered.
std::string press(const System& system, const Verb& verb, const Trees& trees) {
  Stack stack =
      layers_of_verbs().on_filesystems(MountedFilesystem::quick_kind(), "btrfs-subvolume");
  stack.mount(system);
  const Quota quota(whole_btrfs(stack.upper_scratch()));
  std::string first;
  std::string result;
  std::uint64_t room = 0;
  while (result != "ok" && room <= kLastRoom_bytes) {
    quota.leave(room);
    result = verb.change(stack);
    stack.unmount();
    quota.lift();
    stack.mount(system);
    first = first.empty() ? result : first;
    CAPTURE(verb.name, room);
    // EXDEV: the kernel's answer to a redirect that could not be written.
    CHECK((result == "ok" || result == "EDQUOT" || (result == "EXDEV" && system.is_kernel())));
    CHECK(difference(result == "ok" ? trees.after : trees.before, dump_without_times(stack())) ==
          "");
    CHECK(stack.left_overs() == Picture{});
    room = room == 0 ? kFirstRoom_bytes : 2 * room;
  }
  CHECK(result == "ok");
  return first;
}

TEST_CASE("an upper over its quota refuses what takes space and shows the old tree",
          "[quota][slow][root]") {
  std::map<std::string, std::string> answers_of_kernel;
  on(unions(), [&](const System& system) {
    if (const std::string lack = MountedFilesystem::missing("btrfs-subvolume"); !lack.empty()) {
      return skip(lack);
    }
    for (const Verb& verb : verbs()) {
      CAPTURE(verb.name);
      const std::string answer = press(system, verb, undisturbed(system, verb));
      if (system.is_kernel()) {
        answers_of_kernel[verb.name] = answer;
      } else if (!answers_of_kernel.empty()) {
        CHECK(answer == answers_of_kernel[verb.name]);
      }
    }
  });
}

}  // namespace
}  // namespace plyfs::tests
