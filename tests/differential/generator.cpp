#include "generator.h"

#include <algorithm>
#include <array>
#include <optional>

#include "choices.h"

namespace plyfs::difftest {
namespace {

using Maker = Operation (*)(Choices&);

struct Family {
  unsigned weight;
  Maker make;
};

// Weights are relative. Each seed multiplies them by its own factors, so that some sequences
// are mostly renames of directories, others mostly old descriptors, and so on.
constexpr std::array kFamilies = {
    Family{100, make_open},       Family{25, make_whole_read},     Family{55, make_whole_write},
    Family{25, make_truncate},    Family{60, make_unlink},         Family{35, make_rmdir},
    Family{55, make_mkdir},       Family{110, make_rename},        Family{45, make_link},
    Family{25, make_symlink},     Family{12, make_readlink},       Family{15, make_mknod},
    Family{45, make_chmod},       Family{35, make_chown},          Family{35, make_utimens},
    Family{40, make_setxattr},    Family{25, make_getxattr},       Family{15, make_listxattr},
    Family{20, make_removexattr}, Family{40, make_list},           Family{45, make_stat},
    Family{10, make_access},      Family{3, make_statfs},          Family{35, make_slot_read},
    Family{60, make_slot_write},  Family{15, make_seek},           Family{25, make_slot_truncate},
    Family{20, make_fstat},       Family{35, make_slot_attribute}, Family{8, make_fsync},
    Family{15, make_fallocate},   Family{15, make_copy_range},     Family{15, make_map_write},
    Family{12, make_link_fd},     Family{12, make_list_fd},        Family{8, make_flock},
    Family{10, make_slot_xattr},  Family{15, make_close},          Family{4, make_umask},
    Family{4, make_compare},      Family{3, make_remount},         Family{2, make_drop_caches}};

/// Chooses families by the seed's own weights.
class Wheel {
 public:
  explicit Wheel(Random& random) {
    for (const Family& family : kFamilies) {
      static constexpr std::array<unsigned, 4> kFactors = {1, 3, 3, 9};
      total_ += family.weight * kFactors[random.below(kFactors.size())];
      ends_.push_back(total_);
    }
  }

  [[nodiscard]] Maker spin(Random& random) const {
    const std::size_t roll = random.below(total_);
    const auto end = std::upper_bound(ends_.begin(), ends_.end(), roll);
    return kFamilies[static_cast<std::size_t>(end - ends_.begin())].make;
  }

 private:
  std::size_t total_ = 0;
  std::vector<std::size_t> ends_;
};

Operation next_operation(Choices& choices, const Wheel& wheel) {
  Operation operation = wheel.spin(choices.random)(choices);
  const bool closed = uses_slot(operation.kind) && operation.kind != OpKind::kClose &&
                      !choices.slot_used[static_cast<std::size_t>(operation.slot)];
  return closed && choices.random.chance(80) ? make_open(choices) : operation;
}

std::vector<Operation> generate_sequence(Choices& choices, std::size_t length) {
  const Wheel wheel{choices.random};
  const bool mixed_actors = choices.limits.ordinary_actor && choices.random.chance(60);
  std::vector<Operation> sequence;
  choices.slot_used.fill(false);
  while (sequence.size() < length) {
    const bool ordinary = mixed_actors && choices.random.chance(25);
    // Half of what an ordinary user tries is refused; do not believe in all of it.
    std::optional<PathModel> before;
    if (ordinary && choices.random.chance(60)) before = choices.model;
    Operation operation = next_operation(choices, wheel);
    if (before) choices.model = *before;
    if (ordinary) operation.actor = Actor::kOrdinary;
    sequence.push_back(std::move(operation));
  }
  return sequence;
}

}  // namespace

Case generate_case(std::uint64_t seed, std::size_t operations, const Limits& limits) {
  Random random{seed};
  Case result;
  result.layers = generate_layers(random, limits.layers);
  Choices choices{random, limits, PathModel{result.layers}};
  constexpr std::size_t kPreludeLength = 60;
  if (limits.prelude) result.prelude = generate_sequence(choices, kPreludeLength);
  result.operations = generate_sequence(choices, operations);
  return result;
}

}  // namespace plyfs::difftest
