#define CATCH_CONFIG_RUNNER
#include "run_catch.h"

#include "catch.h"

namespace plyfs::tests {

int run_catch(int argc, char** argv) { return Catch::Session().run(argc, argv); }

}  // namespace plyfs::tests
