#include "messages.h"

#include <sys/statvfs.h>

#include <cstdlib>

namespace plyfs::tests {

Messages counted(const std::string& mountpoint) {
  // A message is counted after its reply, and one worker serves one after the other: when this
  // one, which no cache answers, has been answered, all before it are counted.
  struct statvfs answer {};
  REQUIRE(::statvfs(mountpoint.c_str(), &answer) == 0);
  const Ran ran = run({plyfs_program() + "-dump", mountpoint, "--json", "stats"});
  REQUIRE(ran.exit_code == 0);
  Messages messages;
  const std::string operation = "\"operation\": \"";
  const std::string requests = "\"requests\": ";
  for (std::size_t at = 0; (at = ran.out.find(operation, at)) != std::string::npos;) {
    at += operation.size();
    const std::string name = ran.out.substr(at, ran.out.find('"', at) - at);
    at = ran.out.find(requests, at) + requests.size();
    messages[name] = std::atoi(ran.out.c_str() + at);
  }
  messages.erase("statfs");
  return messages;
}

int Cost::of(const std::string& kind) const {
  const auto found = messages.find(kind);
  return found == messages.end() ? 0 : found->second;
}

std::string Cost::told() const {
  std::string text;
  for (const auto& [kind, count] : messages) {
    text += (text.empty() ? "" : ", ") + kind + ' ' + std::to_string(count);
  }
  return text;
}

int Cost::all() const {
  int sum = 0;
  for (const auto& [kind, count] : messages) {
    sum += count;
  }
  return sum;
}

Cost difference(const Messages& before, const Messages& after) {
  Cost cost;
  for (const auto& [kind, count] : after) {
    const auto known = before.find(kind);
    const int more = count - (known == before.end() ? 0 : known->second);
    if (more != 0) {
      cost.messages[kind] = more;
    }
  }
  return cost;
}

}  // namespace plyfs::tests
