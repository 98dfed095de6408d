// What is said on the control channel, as text (docs/design/control.md). Any bytes are accepted.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "plyfs/result.h"

namespace plyfs::control {

using Json = nlohmann::ordered_json;

/// Version of requests and answers.
inline constexpr int kSchemaVersion = 1;

/// What can be asked, by name. A handler runs in the server's thread, and may throw.
using Handlers = std::map<std::string, std::function<Json()>>;

/// One line, without its newline.
std::string request_text(const std::string& request);
/// The answer to one line, without its newline. Throws what the handler throws.
std::string reply_to(const Handlers& handlers, std::string_view line);
std::string refusal(const std::string& why);

/// EPROTO for what is no answer, and for a refusal.
Result<Json> parse_answer(std::string_view line);

}  // namespace plyfs::control
