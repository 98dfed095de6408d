#include "run/environment.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "sys/durable_file.h"

namespace plyfs::run {
namespace {

constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

void take_callers(const char* name, std::vector<std::string>& environment) {
  if (const char* const value = std::getenv(name)) {
    set_variable(environment, std::string{name} + "=" + value);
  }
}

}  // namespace

void set_variable(std::vector<std::string>& environment, const std::string& entry) {
  const std::string name = entry.substr(0, entry.find('=') + 1);
  std::erase_if(environment, [&](const std::string& old) { return old.starts_with(name); });
  environment.push_back(entry);
}

void add_variable(std::vector<std::string>& environment, const std::string& word) {
  if (word.find('=') != std::string::npos) {
    set_variable(environment, word);
  } else {
    take_callers(word.c_str(), environment);
  }
}

Status add_variables_of(const std::string& file, std::vector<std::string>& environment) {
  std::istringstream lines{TRY(sys::read_file(file))};
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && !line.starts_with('#')) {
      add_variable(environment, line);
    }
  }
  return {};
}

std::vector<std::string> make_environment(const std::vector<std::string>& of_image,
                                          const std::vector<std::string>& given, bool terminal) {
  std::vector<std::string> environment{kPath};
  take_callers("LANG", environment);
  if (terminal) {
    take_callers("TERM", environment);
  }
  for (const auto* entries : {&of_image, &given}) {
    for (const std::string& entry : *entries) {
      if (entry.find('=') != std::string::npos) {
        set_variable(environment, entry);
      }
    }
  }
  return environment;
}

bool has_variable(const std::vector<std::string>& environment, const std::string& name) {
  return std::ranges::any_of(
      environment, [&](const std::string& entry) { return entry.starts_with(name + "="); });
}

}  // namespace plyfs::run
