// The control channel: what a daemon is asked, and what a command is answered.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <string>

#include "check.h"
#include "control/description.h"
#include "control/directories.h"
#include "control/protocol.h"

namespace plyfs::control {
namespace {

void ask(const std::string& line) {
  const Handlers handlers = {{"describe", [] { return Json{{"plyfs", "describe"}}; }}};
  const std::string reply = reply_to(handlers, line);
  FUZZ_CHECK(reply.find('\n') == std::string::npos);
  const Json parsed = Json::parse(reply, nullptr, false);
  FUZZ_CHECK(parsed.is_object() && parsed["ok"].is_boolean());
}

void answer(const std::string& line) {
  const auto parsed = parse_answer(line);
  if (!parsed) {
    FUZZ_CHECK(parsed.error() == EPROTO);
    return;
  }
  (void)described_options(*parsed);
  (void)text_member(*parsed, "name");
}

}  // namespace
}  // namespace plyfs::control

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input{data, size};
  const auto which = input.ConsumeIntegralInRange<int>(0, 2);
  const std::string text = input.ConsumeRemainingBytesAsString();
  if (which == 0) {
    plyfs::control::ask(text);
  } else if (which == 1) {
    plyfs::control::answer(text);
  } else {
    const auto pid = plyfs::control::pid_of_socket(text);
    FUZZ_CHECK(!pid || *pid > 0);
  }
  return 0;
}
