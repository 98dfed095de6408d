// Two ways to the UUID of a filesystem, which must agree: origin marks live longer than a kernel.
#include "sys/filesystem_uuid.h"

#include <fcntl.h>

#include "catch.h"
#include "sys/unique_fd.h"
#include "workspace.h"

namespace plyfs::sys {
namespace {

TEST_CASE("a filesystem's own word about its UUID is the kernel's", "[sys]") {
  const test::Workspace space;
  for (const std::string& path : {space.path(), std::string{"/"}, std::string{"/dev/shm"}}) {
    INFO(path);
    const UniqueFd directory{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!directory.valid()) {
      continue;
    }
    const auto own = uuid_by_type(directory.borrow());
    const auto told = filesystem_uuid(directory.borrow());
    CHECK((told || !own));
    // A filesystem that got its UUID while mounted has another one, or none, for the kernel.
    if (own && *told != FilesystemUuid{}) {
      CHECK((told == own));
    }
  }
}

}  // namespace
}  // namespace plyfs::sys
