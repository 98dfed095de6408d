#include "sys/sandbox/user_namespace.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>

#include "sys/creds.h"
#include "sys/unique_fd.h"

namespace plyfs::sys::sandbox {
namespace {

constexpr const char* kNewUidMap = "/usr/bin/newuidmap";
constexpr const char* kNewGidMap = "/usr/bin/newgidmap";
constexpr const char* kGetSubIds = "/usr/bin/getsubids";

std::string user_name() {
  const passwd* const user = ::getpwuid(::getuid());
  return user != nullptr ? user->pw_name : std::to_string(::getuid());
}

/// Lines "NAME:START:COUNT" of subuid(5), for a name or a number.
std::vector<IdMapping> ranges_in(const char* file, const std::string& name) {
  std::vector<IdMapping> ranges;
  std::ifstream lines{file};
  const std::string number = std::to_string(::getuid());
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(':');
    const std::string owner = line.substr(0, colon);
    unsigned start = 0;
    unsigned count = 0;
    if (colon != std::string::npos && (owner == name || owner == number) &&
        std::sscanf(line.c_str() + colon, ":%u:%u", &start, &count) == 2 && count > 0) {
      ranges.push_back({0, start, count});
    }
  }
  return ranges;
}

/// Lines "0: NAME START COUNT", from wherever the machine keeps them (nsswitch.conf).
std::vector<IdMapping> ranges_told(bool groups, const std::string& name) {
  std::vector<IdMapping> ranges;
  int ends[2];
  if (::access(kGetSubIds, X_OK) != 0 || ::pipe2(ends, O_CLOEXEC) != 0) {
    return ranges;
  }
  const pid_t child = ::fork();
  if (child == 0) {
    (void)::dup2(ends[1], 1);
    const UniqueFd null{::open("/dev/null", O_WRONLY)};
    (void)::dup2(null.borrow().get(), 2);
    (void)::execl(kGetSubIds, kGetSubIds, groups ? "-g" : name.c_str(),
                  groups ? name.c_str() : nullptr, nullptr);
    ::_exit(127);
  }
  ::close(ends[1]);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> told{::fdopen(ends[0], "r"), std::fclose};
  std::array<char, 512> line{};
  while (told && std::fgets(line.data(), line.size(), told.get()) != nullptr) {
    unsigned start = 0;
    unsigned count = 0;
    if (std::sscanf(line.data(), "%*d: %*s %u %u", &start, &count) == 2 && count > 0) {
      ranges.push_back({0, start, count});
    }
  }
  if (child > 0) {
    (void)::waitpid(child, nullptr, 0);
  }
  return ranges;
}

std::vector<IdMapping> subordinate(bool groups, const std::string& name) {
  auto ranges = ranges_in(groups ? "/etc/subgid" : "/etc/subuid", name);
  return ranges.empty() ? ranges_told(groups, name) : ranges;
}

/// 0 is ourselves, the ranges follow in their order.
std::vector<IdMapping> after_own(unsigned own, const std::vector<IdMapping>& ranges) {
  std::vector<IdMapping> maps{{0, own, 1}};
  std::uint32_t next = 1;
  for (const IdMapping& range : ranges) {
    maps.push_back({next, range.outside, range.count});
    next += range.count;
  }
  return maps;
}

/// All ids of the present namespace, unchanged.
std::vector<IdMapping> present_ids(const char* map) {
  std::vector<IdMapping> maps;
  std::ifstream lines{map};
  std::uint32_t inside = 0;
  std::uint32_t outside = 0;
  std::uint32_t count = 0;
  while (lines >> inside >> outside >> count) {
    maps.push_back({inside, inside, count});
  }
  return maps;
}

std::string as_lines(const std::vector<IdMapping>& maps) {
  std::ostringstream lines;
  for (const IdMapping& map : maps) {
    lines << map.inside << ' ' << map.outside << ' ' << map.count << '\n';
  }
  return lines.str();
}

Step write_text(const std::string& path, const std::string& text) {
  const UniqueFd file{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  if (!file.valid() ||
      ::write(file.borrow().get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Trouble{"cannot map ids", path, Errno{errno}};
  }
  return std::nullopt;
}

/// newuidmap(1) PID INSIDE OUTSIDE COUNT ...; its exit code.
int run_mapper(const char* program, pid_t target, const std::vector<IdMapping>& maps) {
  std::vector<std::string> words{program, std::to_string(target)};
  for (const IdMapping& map : maps) {
    words.push_back(std::to_string(map.inside));
    words.push_back(std::to_string(map.outside));
    words.push_back(std::to_string(map.count));
  }
  std::vector<char*> arguments;
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    (void)::execv(program, arguments.data());
    ::_exit(127);
  }
  int status = -1;
  while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

/// In the helper, which stays outside. An exit code: 0, or which of the two failed.
int map_from_outside(const IdMaps& maps, pid_t target) {
  if (maps.kind == IdMaps::Kind::kRange) {
    if (run_mapper(kNewUidMap, target, maps.uids) != 0) {
      return 1;
    }
    return run_mapper(kNewGidMap, target, maps.gids) != 0 ? 2 : 0;
  }
  const std::string proc = "/proc/" + std::to_string(target);
  if (write_text(proc + "/uid_map", as_lines(maps.uids))) {
    return 3;
  }
  return write_text(proc + "/gid_map", as_lines(maps.gids)) ? 4 : 0;
}

/// A process that was made before the namespace, and maps its ids when told to.
class Mapper {
 public:
  Step start(const IdMaps& maps) {
    const pid_t target = ::getpid();
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
      return Trouble{"cannot start a process", "pipe", Errno{errno}};
    }
    UniqueFd read_end{ends[0]};
    go_ = UniqueFd{ends[1]};
    pid_ = ::fork();
    if (pid_ < 0) {
      return Trouble{"cannot start a process", "fork", Errno{errno}};
    }
    if (pid_ == 0) {
      go_.reset();
      char byte = 0;
      const bool told = ::read(read_end.borrow().get(), &byte, 1) == 1;
      ::_exit(told ? map_from_outside(maps, target) : 9);
    }
    return std::nullopt;
  }
  /// False: tells the helper that there is nothing to do.
  Step finish(bool entered) {
    if (entered) {
      (void)!::write(go_.borrow().get(), "x", 1);
    }
    go_.reset();
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    if (!entered || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
      return std::nullopt;
    }
    static constexpr std::array<const char*, 5> kSubjects = {"helper", kNewUidMap, kNewGidMap,
                                                             "uid_map", "gid_map"};
    const std::size_t which = WIFEXITED(status) && WEXITSTATUS(status) < 5
                                  ? static_cast<std::size_t>(WEXITSTATUS(status))
                                  : 0;
    return Trouble{"cannot map ids", kSubjects[which], Errno{EPERM}};
  }

 private:
  pid_t pid_ = -1;
  UniqueFd go_;
};

Step map_one(const IdMaps& maps) {
  // Without a range the kernel wants groups to stay what they are: a missing group may be a denial.
  if (const Step wrong = write_text("/proc/self/setgroups", "deny")) {
    return wrong;
  }
  if (const Step wrong = write_text("/proc/self/uid_map", as_lines(maps.uids))) {
    return wrong;
  }
  return write_text("/proc/self/gid_map", as_lines(maps.gids));
}

}  // namespace

IdMaps possible_id_maps() {
  IdMaps maps;
  if (::geteuid() == 0 && current_privileges().chown) {
    maps.kind = IdMaps::Kind::kAll;
    maps.uids = present_ids("/proc/self/uid_map");
    maps.gids = present_ids("/proc/self/gid_map");
    if (maps.uids.size() == 1 && maps.uids.front().count == 1) {
      maps.kind = IdMaps::Kind::kOne;
      maps.why_one = "there is but one in this user namespace; run it outside";
    }
    return maps;
  }
  const std::string name = user_name();
  const auto uids = subordinate(false, name);
  const auto gids = subordinate(true, name);
  if (uids.empty() || gids.empty()) {
    maps.why_one = std::string{uids.empty() ? "/etc/subuid" : "/etc/subgid"} +
                   " has no range for " + name +
                   "; as root: usermod --add-subuids 100000-165535 --add-subgids "
                   "100000-165535 " +
                   name;
  } else if (::access(kNewUidMap, X_OK) != 0 || ::access(kNewGidMap, X_OK) != 0) {
    maps.why_one = "newuidmap is not installed; as root: apt install uidmap";
  }
  if (!maps.why_one.empty()) {
    maps.uids = {{0, ::geteuid(), 1}};
    maps.gids = {{0, ::getegid(), 1}};
    return maps;
  }
  maps.kind = IdMaps::Kind::kRange;
  maps.uids = after_own(::geteuid(), uids);
  maps.gids = after_own(::getegid(), gids);
  return maps;
}

Step enter_user_namespace(const IdMaps& maps) {
  const bool helped = maps.kind != IdMaps::Kind::kOne;
  Mapper mapper;
  if (helped) {
    if (const Step wrong = mapper.start(maps)) {
      return wrong;
    }
  }
  const bool entered = ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
  const Errno error{errno};
  Step mapped = helped ? mapper.finish(entered) : entered ? map_one(maps) : Step{};
  if (!entered) {
    return Trouble{"cannot make a user namespace", "unshare", error};
  }
  if (mapped) {
    return mapped;
  }
  if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0 ||
      (helped && ::setgroups(0, nullptr) != 0)) {
    return Trouble{"cannot become root of the namespace", "setresuid", Errno{errno}};
  }
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
    return Trouble{"cannot use the new namespace", "mount", Errno{errno}};
  }
  return std::nullopt;
}

}  // namespace plyfs::sys::sandbox
