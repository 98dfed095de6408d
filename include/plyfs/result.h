// Errors as values: Errno, Result<T>, TRY.
//
// Why not std::expected: clang 14 cannot compile it on Debian 12 (D-002). The method names are the
// same, so this can become an alias later. Both types are [[nodiscard]]: a dropped error warns.
#pragma once

#include <cerrno>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

namespace plyfs {

/// An errno(3) value that is known to be an error (never 0).
class [[nodiscard]] Errno {
 public:
  constexpr explicit Errno(int value) : value_(value == 0 ? EIO : value) {}
  [[nodiscard]] constexpr int value() const { return value_; }
  [[nodiscard]] std::string message() const {
    return std::error_code(value_, std::generic_category()).message();
  }
  friend constexpr bool operator==(Errno a, Errno b) { return a.value_ == b.value_; }
  friend constexpr bool operator==(Errno a, int b) { return a.value_ == b; }

 private:
  int value_;
};

/// A value or an Errno.
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  // Implicit on purpose: `return Errno{EROFS};` and `return value;` are whole statements.
  Result(Errno error)
      : state_(std::in_place_index<1>, error) {}  // NOLINT(google-explicit-constructor)
  template <typename U = T>
  requires(std::is_constructible_v<T, U&&> && !std::is_same_v<std::remove_cvref_t<U>, Errno> &&
           !std::is_same_v<std::remove_cvref_t<U>, Result>)
      Result(U&& value)  // NOLINT(google-explicit-constructor)
      : state_(std::in_place_index<0>, std::forward<U>(value)) {}

  [[nodiscard]] bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  [[nodiscard]] T& value() & { return *std::get_if<0>(&state_); }
  [[nodiscard]] const T& value() const& { return *std::get_if<0>(&state_); }
  [[nodiscard]] T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  [[nodiscard]] Errno error() const { return *std::get_if<1>(&state_); }
  template <typename U>
  [[nodiscard]] T value_or(U&& other) const& {
    return has_value() ? value() : static_cast<T>(std::forward<U>(other));
  }

 private:
  std::variant<T, Errno> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Errno error) : error_(error.value()) {}  // NOLINT(google-explicit-constructor)
  [[nodiscard]] bool has_value() const { return error_ == 0; }
  explicit operator bool() const { return has_value(); }
  [[nodiscard]] Errno error() const { return Errno{error_}; }
  void value() const {}

 private:
  int error_ = 0;
};

using Status = Result<void>;

}  // namespace plyfs

/// Unwraps a Result, or returns its error from the enclosing function.
#define PLYFS_TRY_CAT2(a, b) a##b
#define PLYFS_TRY_CAT(a, b) PLYFS_TRY_CAT2(a, b)
#define PLYFS_TRY_NAMED(expression, name)     \
  __extension__({                             \
    auto name = (expression);                 \
    if (!name) {                              \
      return name.error();                    \
    }                                         \
    ::plyfs::detail::unwrap(std::move(name)); \
  })
#define TRY(expression) PLYFS_TRY_NAMED(expression, PLYFS_TRY_CAT(try_result_, __COUNTER__))

namespace plyfs::detail {
template <typename T>
T unwrap(Result<T>&& result) {
  return std::move(result).value();
}
inline void unwrap(Result<void>&&) {}
}  // namespace plyfs::detail
