// What a caller writes: -o strings and VOLUMEs, which container engines pass on from image configs.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <string>

#include "base/text.h"
#include "check.h"
#include "config/option_text.h"
#include "config/options_parser.h"
#include "config/volume_spec.h"

namespace plyfs {
namespace {

bool is_absolute_and_clean(const std::string& path) {
  const auto again = config::normalised(path);
  return again && *again == path && path.starts_with('/') &&
         (path + '/').find("/../") == std::string::npos;
}

void check_failure(const std::optional<Failure>& failure) {
  if (failure) {
    FUZZ_CHECK(failure->exit_code == 1);
    FUZZ_CHECK(failure->what.find('\n') == std::string::npos);  // a report is one line
    FUZZ_CHECK(failure->what.find('\x1b') == std::string::npos);
  }
}

void parse(const std::string& text, config::UnknownWords unknown) {
  MountOptions options;
  config::Warnings warnings;
  check_failure(config::parse_options(text, unknown, options, warnings));
  config::apply_defaults(config::Caller::kOrdinary, options);
  FUZZ_CHECK(options.lowers.size() <= config::kMostLayers);
  for (const VolumeSpec& volume : options.volume_specs) {
    FUZZ_CHECK(is_absolute_and_clean(volume.destination));
  }
  for (const std::string& warning : warnings) {
    FUZZ_CHECK(warning.find('\n') == std::string::npos);
  }
  FUZZ_CHECK(options.timeout_s >= 0 && options.timeout_s <= 1.0e9);
}

void check_volume(const std::string& text) {
  MountOptions options;
  const auto failure = config::add_volume(text, options);
  check_failure(failure);
  FUZZ_CHECK(options.volume_specs.size() == (failure ? 0U : 1U));
  if (failure) {
    return;
  }
  const VolumeSpec& volume = options.volume_specs.front();
  FUZZ_CHECK(is_absolute_and_clean(volume.destination));
  if (volume.kind == VolumeSpec::Kind::kBind) {
    FUZZ_CHECK(volume.source.starts_with('/'));
  }
  if (volume.kind == VolumeSpec::Kind::kNamed) {
    FUZZ_CHECK(!config::check_name(volume.source, "bad name"));
    FUZZ_CHECK(volume.source.find('/') == std::string::npos);
  }
  // A path below a directory of the store must not climb out of it.
  FUZZ_CHECK(('/' + volume.subpath + '/').find("/../") == std::string::npos);
}

}  // namespace
}  // namespace plyfs

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input{data, size};
  const auto which = input.ConsumeIntegralInRange<int>(0, 4);
  const std::string text = input.ConsumeRemainingBytesAsString();
  plyfs::MountOptions options;
  switch (which) {
    case 0:
      plyfs::parse(text, plyfs::config::UnknownWords::kRefuse);
      break;
    case 1:
      plyfs::parse(text, plyfs::config::UnknownWords::kWarn);
      break;
    case 2:
      plyfs::check_volume(text);
      break;
    case 3:
      plyfs::check_failure(plyfs::config::add_volumes_from(text, options));
      break;
    default:
      (void)plyfs::config::parse_id_mappings(text);
      (void)plyfs::config::parse_seconds(text);
      (void)plyfs::config::default_work_path(text);
      FUZZ_CHECK(plyfs::config::unescape(text).size() <= text.size());
  }
  return 0;
}
