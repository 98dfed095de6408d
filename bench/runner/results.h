#pragma once

// What came out, and its three forms.

#include <map>
#include <string>
#include <vector>

#include "statistics.h"
#include "workload.h"

namespace plyfs::bench {

struct RowResult {
  Row row;
  Table table = Table::kPeers;
  std::string workload;
  Medium medium = Medium::kTmpfs;
  std::map<std::string, Samples> samples;  ///< by system, one for each round
};

struct SystemResult {
  System system;
  std::string version;
  std::string missing;  ///< why it was not measured; empty if it was
};

struct Machine {
  std::string date;
  std::string kernel;
  std::string processor;
  long processors = 0;
  double memory_bytes = 0;
};

struct Results {
  Machine machine;
  std::string command;
  std::vector<SystemResult> systems;
  std::vector<RowResult> rows;
  std::vector<std::string> failures;  ///< one line each
  /// The same work, timed between all others: how far its middle 80 % lie apart, as a share of the
  /// median. No difference below it is called one.
  double noise = 0;
  double load_before = 0;
  double stolen_share = 0;  ///< processor time that the hypervisor gave to others
};

Machine this_machine();

std::string to_json(const Results& results);
std::string to_markdown(const Results& results);
/// Commands and data for gnuplot, which writes `file` (.svg or .png).
std::string to_gnuplot(const Results& results, const std::string& file);

/// "3.1 µs", "2.4 MiB".
std::string quantity(double value, Unit unit);

/// What a row of the first table says about the question what belongs in a volume, in words.
std::string advice(const RowResult& row, double noise);

}  // namespace plyfs::bench
