// Whose turn it is to serve a ring, and what the scheduler is asked.
#include "fuse/ring_shifts.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "catch.h"
#include "fuse/disk_waits.h"
#include "sys/scheduling.h"

namespace plyfs::fuse {
namespace {

using enum RingShifts::Shift;

TEST_CASE("the two threads of a ring take turns until the end", "[ring]") {
  RingShifts shifts;
  std::vector<int> order;  // written only by the thread that has the turn: TSan would tell
  const auto work = [&](RingShifts::Shift shift, int number) {
    while (shifts.await(shift)) {
      order.push_back(number);
      if (order.size() == 5) {
        shifts.end();
      } else {
        shifts.hand_over();
      }
    }
  };
  std::thread ordinary{work, kOrdinary, 2};
  std::thread yielding{work, kYielding, 1};
  ordinary.join();
  yielding.join();
  CHECK(order == std::vector<int>{1, 2, 1, 2, 1});
}

TEST_CASE("a watch without a shift never ends it", "[ring]") {
  ShiftWatch watch{std::nullopt};
  watch.begin();
  for (int i = 0; i < 100; ++i) {
    REQUIRE_FALSE(watch.is_over());
  }
}

TEST_CASE("scheduling: sets of processors, and what the machine tells", "[ring]") {
  const auto all = sys::ProcessorSet::of_this_thread();
  REQUIRE(all);
  REQUIRE(all->count() >= 1);
  CHECK(all->contains(*all));
  CHECK(sys::ProcessorSet::only(70).count() == 1);
  CHECK_FALSE(sys::ProcessorSet::only(3).contains(sys::ProcessorSet::only(70)));
  CHECK(sys::ProcessorSet::only(70).next_after(3) == 70);
  CHECK(sys::ProcessorSet::only(70).next_after(70) == 70);
  CHECK(all->contains(sys::ProcessorSet::only(sys::current_processor())));
  CHECK(sys::runnable_threads() >= 1);
  std::thread{[&] {
    CHECK(sys::ProcessorSet::of_this_thread()->apply());
    CHECK(sys::yield_to_everybody());
    CHECK(::sched_getscheduler(0) == SCHED_IDLE);
    CHECK(::syscall(SYS_ioprio_get, 1, 0) == (2 << 13 | 4));  // best effort, not idle
    CHECK(sys::RunDelay{}.so_far() >= std::chrono::nanoseconds{0});
  }}.join();
}

TEST_CASE("a few waits for the disk in a row are many, and some requests later none", "[fuse]") {
  using namespace std::chrono_literals;
  DiskWaits waits;
  CHECK_FALSE(waits.may_have_waited(ticks_in(40us)));
  CHECK(waits.may_have_waited(ticks_in(60us)));
  waits.note(true);
  for (int i = 0; i < 4; ++i) {
    waits.note(false);
  }
  waits.note(true);
  CHECK_FALSE(waits.many());  // one now and then
  waits.note(true);
  CHECK(waits.many());
  for (int i = 0; i < 100; ++i) {
    waits.note(true);
  }
  for (int i = 0; i < 15; ++i) {
    waits.note(false);
    CHECK(waits.many());
  }
  waits.note(false);
  CHECK_FALSE(waits.many());
}

}  // namespace
}  // namespace plyfs::fuse
