// Text for people: bytes from untrusted layers, sizes, times, modes.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

namespace plyfs {

/// Valid UTF-8 on one line, whatever the bytes are. Control characters, the backslash, bytes that
/// are not UTF-8, and characters that reorder the text around them are shown as \xNN, byte by byte;
/// so two different names never look the same.
enum class Backslash : unsigned char { kEscape, kKeep };
std::string escaped(std::string_view bytes, Backslash backslash = Backslash::kEscape);

/// JSON as it is, but for characters that a terminal would obey: those become \uNNNN.
std::string harmless_json(std::string_view json);

/// The bytes that `escaped` showed; what is no escape stays.
std::string unescaped(std::string_view text);

bool is_utf8(std::string_view bytes);

/// "512 B", "1.5 KiB", "20 GiB".
std::string human_bytes(std::uint64_t bytes);

/// 2026-11-24T18:30:05.123456789Z, without the fraction where it is 0.
std::string iso_time(const timespec& time);

/// "file", "directory", "symlink", "fifo", "socket", "char device", "block device".
const char* type_word(mode_t mode);

/// Four octal digits.
std::string octal_mode(mode_t mode);

}  // namespace plyfs
