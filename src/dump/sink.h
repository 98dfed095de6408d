// Where prints go, piece by piece: a dump may be larger than memory.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "dump/print.h"

namespace plyfs::dump {

/// Writes text out; false when nobody reads it any more.
using Sink = std::function<bool(std::string_view)>;

/// A JSON object whose last member is an array that is written as it grows, one entry a line.
class JsonStream {
 public:
  JsonStream(const Sink& sink, const Json& head, std::string_view array_name) : sink_(sink) {
    std::string text = head.dump();
    text.pop_back();
    sink_(text + ",\"" + std::string{array_name} + "\":[");
  }
  bool add(const Json& entry) {
    const bool written = sink_((first_ ? "\n" : ",\n") + entry.dump());
    first_ = false;
    return written;
  }
  /// `tail` is an object whose members are added after the array.
  void finish(const Json& tail = Json::object()) {
    std::string text = "\n]";
    if (!tail.empty()) {
      text += ',' + tail.dump().substr(1);
    } else {
      text += '}';
    }
    sink_(text + '\n');
  }

 private:
  const Sink& sink_;
  bool first_ = true;
};

}  // namespace plyfs::dump
