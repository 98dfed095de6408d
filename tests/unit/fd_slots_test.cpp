#include "sys/fd_slots.h"

#include <fcntl.h>

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "merge/directory_stack.h"
#include "merge/name_places.h"
#include "sys/open.h"

namespace plyfs {
namespace {

using merge::NamePlaces;
using Place = NamePlaces::Place;
using sys::FdPin;
using sys::FdSlot;
using sys::FdSlots;

FdPin opened() {
  auto fd = sys::open_directory_path("/");
  REQUIRE(fd);
  return std::make_shared<const sys::UniqueFd>(std::move(*fd));
}

TEST_CASE("a slot keeps its first descriptor until it is taken out", "[sys]") {
  FdSlots slots(160);
  FdSlot slot;
  CHECK(slots.find(slot) == nullptr);
  const FdPin first = opened();
  CHECK(slots.insert(slot, first) == first);
  CHECK(slots.insert(slot, opened()) == first);  // somebody was faster
  CHECK(slots.find(slot) == first);
  CHECK(slots.statistics().size == 1);
  slots.erase(slot);
  slots.erase(slot);
  CHECK(slots.find(slot) == nullptr);
  CHECK(slots.statistics().size == 0);
  CHECK(first.use_count() == 1);
}

TEST_CASE("the number of descriptors in slots is bounded, and what is used stays", "[sys]") {
  constexpr std::size_t kCapacity = 64;
  FdSlots slots(kCapacity);
  std::vector<FdSlot> all(4096);
  FdSlot used;
  REQUIRE(slots.insert(used, opened()));
  std::vector<std::weak_ptr<const sys::UniqueFd>> pins;
  for (FdSlot& slot : all) {
    REQUIRE(slots.find(used));
    const FdPin pin = opened();
    pins.push_back(pin);
    REQUIRE(slots.insert(slot, pin) == pin);
    REQUIRE(slots.statistics().size <= kCapacity);
  }
  std::size_t open = 0;
  for (const auto& pin : pins) {
    open += pin.expired() ? 0 : 1;
  }
  CHECK(open == slots.statistics().size - 1);
  for (FdSlot& slot : all) {
    slots.erase(slot);
  }
  CHECK(slots.statistics().size == 1);
  slots.erase(used);
}

/// A directory of two parts, of which the first cannot be opened.
class Covered final : public merge::DirectoryAccess {
 public:
  Covered() {
    for (layer::LayerIndex layer = 1; layer <= 2; ++layer) {
      merge::DirectoryPart part;
      part.layer = layer;
      part.unopened = true;
      parts_.push_back(std::move(part));
    }
  }
  merge::DirectoryParts& parts() override { return parts_; }
  Result<FdPin> open_part(std::size_t index) override {
    if (index == 0) {
      return Errno{error};
    }
    return opened();
  }
  std::string part_path(std::size_t /*index*/) override { return {}; }

  int error = EXDEV;

 private:
  merge::DirectoryParts parts_;
};

TEST_CASE("a part over which something is mounted is empty from then on, any other error is told",
          "[merge]") {
  Covered directory;
  directory.error = EIO;
  CHECK(merge::enter_part(directory, 0).error() == EIO);
  directory.error = EXDEV;
  auto entered = merge::enter_part(directory, 0);
  REQUIRE(entered);
  CHECK(*entered == nullptr);
  CHECK(directory.parts()[0].boundary == merge::Boundary::kEmpty);
  directory.error = EIO;  // it is not opened again
  entered = merge::enter_part_to_list(directory, 0, nullptr);
  REQUIRE(entered);
  CHECK(*entered == nullptr);
  entered = merge::enter_part(directory, 1);
  REQUIRE(entered);
  CHECK(*entered != nullptr);
  CHECK_FALSE(directory.parts()[1].unopened);
  // Known otherwise, it is no mount that was missed.
  directory.parts()[0].boundary = merge::Boundary::kNone;
  directory.parts()[0].unopened = false;
  directory.error = EXDEV;
  CHECK(merge::enter_part(directory, 0).error() == EXDEV);
}

TEST_CASE("a directory over which something is mounted can be refused", "[sys]") {
  const auto root = sys::open_directory_path("/");
  REQUIRE(root);
  // /proc is a mount everywhere; /usr may be one.
  CHECK(sys::open_directory_at(root->borrow(), "proc"));
  CHECK(sys::open_directory_at(root->borrow(), "proc", sys::Mounts::kRefuse).error() == EXDEV);
  CHECK(
      sys::open_listing_quietly({root->borrow(), "proc"}, nullptr, sys::Mounts::kRefuse).error() ==
      EXDEV);
  CHECK(sys::open_directory_at(root->borrow(), "etc", sys::Mounts::kRefuse));
  CHECK(sys::open_directory_at(root->borrow(), "no such", sys::Mounts::kRefuse).error() == ENOENT);
}

TEST_CASE("places of a name: exact for the first parts, asked for behind them", "[merge]") {
  const NamePlaces unknown = NamePlaces::from(2);
  CHECK(unknown.at(1) == Place::kAbsent);
  CHECK(unknown.at(2) == Place::kAsk);
  CHECK(unknown.at(3) == Place::kAsk);
  CHECK(unknown.at(400) == Place::kAsk);
  CHECK(unknown.any_behind(2));
  CHECK(unknown.any_behind(400));

  const NamePlaces alone{5, 0};
  CHECK(alone.at(4) == Place::kAbsent);
  CHECK(alone.at(5) == Place::kAsk);
  CHECK(alone.at(6) == Place::kAbsent);
  CHECK(alone.at(499) == Place::kAbsent);
  CHECK_FALSE(alone.any_behind(5));
  CHECK(alone.count() == 1);

  std::uint64_t following = NamePlaces::with(0, 1, Place::kDirectory);
  following = NamePlaces::with(following, 3, Place::kAsk);
  following = NamePlaces::with(following, 3, Place::kDirectory);
  following = NamePlaces::with(following, NamePlaces::kExact, Place::kDirectory);
  const NamePlaces some{0, following};
  CHECK(some.at(1) == Place::kDirectory);
  CHECK(some.at(2) == Place::kAbsent);
  CHECK(some.at(3) == Place::kDirectory);
  CHECK(some.at(NamePlaces::kExact) == Place::kDirectory);
  CHECK(some.at(NamePlaces::kExact + 1) == Place::kAbsent);
  CHECK(some.any_behind(3));
  CHECK_FALSE(some.any_behind(NamePlaces::kExact));
  CHECK(some.count() == 4);

  // Those behind share one place, which never says more than that they must be asked.
  const NamePlaces far{0, NamePlaces::with(following, 300, Place::kDirectory)};
  CHECK(far.at(NamePlaces::kExact + 1) == Place::kAsk);
  CHECK(far.at(300) == Place::kAsk);
  CHECK(far.any_behind(NamePlaces::kExact));
}

}  // namespace
}  // namespace plyfs
