// Decides whether two times that the system clock set belong to the same operation.
#pragma once

#include <cstddef>
#include <ctime>
#include <vector>

namespace plyfs::difftest {

/// Remembers when each operation ran (on both sides, one after the other). A time stamp may come
/// from any operation whose span contains it; two stamps agree when one operation fits both.
/// The spans are widened by the coarse clock's tick, so no verdict depends on the machine's speed.
class Timeline {
 public:
  Timeline() : start_(now()) {}

  static timespec now();
  void add(timespec begin, timespec end) { spans_.push_back({begin, end}); }
  [[nodiscard]] bool agree(timespec left, timespec right) const;

 private:
  struct Span {
    timespec begin;
    timespec end;
  };
  [[nodiscard]] bool set_by_clock(timespec time) const;

  timespec start_;
  std::vector<Span> spans_;
};

bool same_time(timespec left, timespec right);

}  // namespace plyfs::difftest
