// plyfs-bench-micro: small questions about speed and memory, each asked of plyfs and of its peers.
#include <benchmark/benchmark.h>

#include "mounted_tree.h"

int main(int argc, char** argv) {
  plyfs::bench::register_walk_benchmarks();
  plyfs::bench::register_change_benchmarks();
  plyfs::bench::register_name_benchmarks();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 2;
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
