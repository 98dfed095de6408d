#include "control/protocol.h"

namespace plyfs::control {

std::string request_text(const std::string& request) {
  Json asked;
  asked["request"] = request;
  return asked.dump();
}

std::string refusal(const std::string& why) {
  Json json;
  json["ok"] = false;
  json["error"] = why;
  return json.dump();
}

std::string reply_to(const Handlers& handlers, std::string_view line) {
  const Json request = Json::parse(line, nullptr, false);
  if (!request.is_object() || !request.contains("request") || !request["request"].is_string()) {
    return refusal("not a request; send {\"request\": NAME}");
  }
  const auto handler = handlers.find(request["request"].get<std::string>());
  if (handler == handlers.end()) {
    return refusal("unknown request");
  }
  Json reply;
  reply["ok"] = true;
  reply["schema"] = kSchemaVersion;
  reply.update(handler->second());
  return reply.dump();
}

Result<Json> parse_answer(std::string_view line) {
  Json answer = Json::parse(line, nullptr, false);
  if (!answer.is_object() || !answer.contains("ok") || answer["ok"] != true) {
    return Errno{EPROTO};
  }
  return answer;
}

}  // namespace plyfs::control
