#include "choices.h"

#include <sys/stat.h>

namespace plyfs::difftest {

std::string Choices::of_kind(PathKind kind) {
  const std::vector<std::string> found = model.of_kind(kind);
  return found.empty() ? new_path() : random.pick(found);
}

std::string Choices::any_path() {
  if (random.chance(8) || model.paths().empty()) return new_path();
  auto chosen = model.paths().begin();
  std::advance(chosen, static_cast<std::ptrdiff_t>(random.below(model.paths().size())));
  return chosen->first;
}

std::string Choices::file_path() {
  return random.chance(85) ? of_kind(PathKind::kFile) : any_path();
}

std::string Choices::directory_path() {
  if (random.chance(12)) return any_path();
  const std::string path = of_kind(PathKind::kDirectory);
  return path.empty() ? of_kind(PathKind::kDirectory) : path;
}

std::string Choices::new_path() {
  const std::string parent = random.pick(model.of_kind(PathKind::kDirectory));
  const std::string& name = random.pick(name_pool());
  return parent.empty() ? name : parent + "/" + name;
}

std::string Choices::twisted(std::string path) {
  if (path.empty()) path = ".";
  if (!random.chance(4)) return path;
  switch (random.below(9)) {
    case 0:
      return path + "/";
    case 1:
      return path + "/.";
    case 2:
      return path + "/..";
    case 3:
      return path + "/" + random.pick(name_pool());
    case 4:
      return std::string(256, 'z');
    case 5:
      return path + "/" + std::string(255, 'z');
    case 6:
      return "";
    case 7:
      return std::string{"/"}.append(path);
    default:
      return std::string{"./"}.append(path);
  }
}

int Choices::any_slot() {
  // An unused slot now and then costs nothing: EBADF on both sides.
  for (int attempt = 0; attempt < 6; ++attempt) {
    const std::size_t index = random.below(kSlots);
    if (slot_used[index]) return static_cast<int>(index);
  }
  return static_cast<int>(random.below(kSlots));
}

int Choices::file_slot() {
  for (int attempt = 0; attempt < 6; ++attempt) {
    const auto index = static_cast<std::size_t>(any_slot());
    if (slot_used[index] && slot_kinds[index] != PathKind::kDirectory) {
      return static_cast<int>(index);
    }
  }
  return any_slot();
}

int Choices::writable_slot() {
  for (int attempt = 0; attempt < 10; ++attempt) {
    const auto index = static_cast<std::size_t>(file_slot());
    if (slot_used[index] && slot_writable[index]) return static_cast<int>(index);
  }
  return file_slot();
}

bool Choices::is(const std::string& path, PathKind kind) const {
  const auto known = model.paths().find(path);
  return known != model.paths().end() && known->second == kind;
}

mode_t Choices::mode() {
  static const std::vector<mode_t> kModes = {0644, 0600,  0755,  0777,  0400,  0000,  0666,
                                             0711, 01777, 02755, 04755, 06755, 02775, 0222};
  return random.pick(kModes);
}

off_t Choices::offset() {
  if (random.chance(40)) return 0;
  if (random.chance(60)) return random.between(0, 400);
  if (random.chance(3)) return -1;
  return random.between(0, random.chance(10) ? 300000 : 20000);
}

std::size_t Choices::length() {
  if (random.chance(5)) return 0;
  return 1 + random.below(random.chance(20) ? 9000 : 200);
}

timespec Choices::time() {
  if (random.chance(20)) return {0, UTIME_NOW};
  if (random.chance(20)) return {0, UTIME_OMIT};
  const std::int64_t seconds =
      random.chance(10) ? random.between(2200000000, 4000000000) : random.between(0, 1500000000);
  return {seconds, random.between(0, 999999999)};
}

uid_t Choices::owner() {
  if (random.chance(20)) return static_cast<uid_t>(-1);
  if (!limits.layers.owners) return 0;
  static const std::vector<uid_t> kOwners = {0, kOrdinaryUid, kOrdinaryUid, 1002};
  return random.pick(kOwners);
}

std::string Choices::xattr_name() {
  static const std::vector<std::string> kUserNames = {"user.a", "user.a", "user.b", "user.long",
                                                      "user.empty"};
  const std::size_t roll = random.below(100);
  if (roll < 60) return random.pick(kUserNames);
  if (roll < 72) return "system.posix_acl_access";
  if (roll < 80) return "system.posix_acl_default";
  if (roll < 82) return "user." + std::string(251, 'x');  // one byte too long in all
  if (roll < 84) return "nonsense";
  if (roll < 86) return "user.";
  if (!limits.layers.trusted_xattrs) return "user.c";
  return roll < 93 ? "trusted.t" : "security.capability";
}

std::string Choices::xattr_value(const std::string& name) {
  if (name.compare(0, 16, "system.posix_acl") == 0) {
    return random.chance(90) ? acl_value(random, limits.layers) : "not an acl";
  }
  if (name == "security.capability") return random.chance(90) ? capability_value() : "short";
  if (name == "user.empty") return "";
  if (name == "user.long") return random_bytes(random.next(), 700 + random.below(600));
  return random_bytes(random.next(), random.below(50));
}

}  // namespace plyfs::difftest
