#pragma once

namespace plyfs::tests {

/// Runs the tests of this program as the arguments say; returns its exit code. It stands apart from
/// the tests because Catch2 2, a header, takes half a minute to compile where its code is wanted.
int run_catch(int argc, char** argv);

}  // namespace plyfs::tests
