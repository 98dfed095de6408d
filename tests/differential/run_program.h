// Runs a program of ours to its end.
#pragma once

#include <string>
#include <vector>

namespace plyfs::difftest {

struct ProgramEnd {
  int code = -1;    ///< exit code; 128+N after signal N
  std::string out;  ///< what it printed
};

/// `scratch` is a file that gets its output meanwhile. Its messages go to our stderr.
ProgramEnd run_program(std::vector<std::string> words, const std::string& scratch);

std::string read_whole(const std::string& path);

/// The bytes of a printed name.
std::string unescaped(const std::string& text);

}  // namespace plyfs::difftest
