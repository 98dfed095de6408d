#pragma once

// What is measured.

#include <string>
#include <vector>

#include "worker.h"

namespace plyfs::bench {

enum class Table { kBindIo, kPeers };
enum class When { kDefault, kOnRequest };  ///< the long ones run when they are named, or with "all"

struct Workload {
  std::string name;
  Table table = Table::kPeers;
  When when = When::kDefault;
  Medium medium = Medium::kTmpfs;
  Access access = Access::kWrite;
  unsigned most_rounds = 100;
  Fixture fixture;
  std::vector<Row> rows;
  Body body;                  ///< empty: what is measured is the mounting
  bool drops_caches = false;  ///< needs root
  std::string needs_program;
};

/// Every size is multiplied by `scale`, with a floor; 1 gives the sizes of the published tables.
std::vector<Workload> all_workloads(double scale);

// The parts of it.
void add_io_workloads(std::vector<Workload>& all, double scale);
void add_tree_workloads(std::vector<Workload>& all, double scale);
void add_change_workloads(std::vector<Workload>& all, double scale);
void add_name_workloads(std::vector<Workload>& all, double scale);
void add_program_workloads(std::vector<Workload>& all, double scale);

/// A count or size, scaled, and never below `floor`.
std::uint32_t scaled(double scale, std::uint32_t full, std::uint32_t floor = 4);

/// "10,000".
std::string with_commas(std::uint64_t number);

}  // namespace plyfs::bench
