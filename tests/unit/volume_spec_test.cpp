// What a VOLUME means, and what is refused.
#include "config/volume_spec.h"

#include <string>
#include <utility>
#include <vector>

#include "catch.h"
#include "config/options_parser.h"

namespace plyfs::config {
namespace {

std::string shown_spec(const VolumeSpec& volume) {
  const char* const kind = volume.kind == VolumeSpec::Kind::kBind    ? "bind"
                           : volume.kind == VolumeSpec::Kind::kNamed ? "named"
                                                                     : "anonymous";
  std::string text = std::string{kind} + " " + volume.source + " " + volume.destination;
  text += volume.read_only ? " ro" : "";
  text += volume.no_copy ? " nocopy" : "";
  text += volume.subpath.empty() ? "" : " subpath=" + volume.subpath;
  return text;
}

std::string parsed(std::string_view text) {
  MountOptions options;
  if (const auto failure = add_volume(text, options)) {
    CHECK(options.volume_specs.empty());
    CHECK(failure->exit_code == 1);
    CHECK(failure->what.find('\n') == std::string::npos);
    return failure->what;
  }
  return shown_spec(options.volume_specs.at(0));
}

TEST_CASE("a volume is a host path, a name, or nothing before the path in the mount", "[config]") {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"/h:/d", "bind /h /d"},
      {"/h:/d:ro", "bind /h /d ro"},
      {"/h:/d:rw", "bind /h /d"},
      {R"(/h\:1:/d\:2:ro)", "bind /h:1 /d:2 ro"},
      {"/h//x/../y:/d//./e/", "bind /h//x/../y /d/e"},
      {"web:/d", "named web /d"},
      {"0web_1.-:/d:ro,nocopy,subpath=a//b/", "named 0web_1.- /d ro nocopy subpath=a/b"},
      {"/d", "anonymous  /d"},
      {"/d/", "anonymous  /d"},
      {R"(/a\:b)", "anonymous  /a:b"},
  };
  for (const auto& [text, expected] : cases) {
    INFO(text);
    CHECK(parsed(text) == expected);
  }
}

TEST_CASE("a bad volume is refused with the way to write it", "[config]") {
  const std::string absolute = "a host path is absolute: write it as \"$PWD/...\"";
  const std::string inside = "the path in the mount is absolute and has no '..'";
  const std::string options = "the options of a volume are ro, rw, nocopy and subpath=DIR";
  const std::vector<std::pair<std::string, std::string>> cases{
      {"./h:/d", absolute},
      {"h/x:/d", absolute},
      {"../h:/d", absolute},
      {"/h:d", inside},
      {"/h:", inside},
      {"/d:ro", inside},
      {"/h:/a/../b", inside},
      {"/h:/", "the root of the mount cannot be a volume: name a path below it"},
      {"/h:/./", "the root of the mount cannot be a volume: name a path below it"},
      {":/d", "give a host path or a volume name before the colon"},
      {"web", "use /host/path:/path/in/mount, NAME:/path/in/mount or /path/in/mount"},
      {"", "use /host/path:/path/in/mount, NAME:/path/in/mount or /path/in/mount"},
      {"-web:/d",
       "a volume name has letters, digits, '_', '.' and '-' and begins with a letter or digit; a "
       "host path begins with '/'"},
      {"/h:/d:ro:x", "use SOURCE:/path/in/mount[:OPTIONS]; a colon inside a path is written \\:"},
      {"/h:/d:", options},
      {"/h:/d:rx", options},
      {"/h:/d:ro,", options},
      {"/h:/d:ro,rw", "say ro or rw once"},
      {"/h:/d:nocopy", "nocopy is for named volumes: a host directory is never filled"},
      {"/h:/d:subpath=a",
       "subpath is for named volumes: give the host path of the directory itself"},
      {"web:/d:subpath=", "subpath is a relative path inside the volume, without '..'"},
      {"web:/d:subpath=/a", "subpath is a relative path inside the volume, without '..'"},
      {"web:/d:subpath=a/../..", "subpath is a relative path inside the volume, without '..'"},
      {R"(/h\000:/d)", "a path has up to 4095 bytes, none of them zero"},
  };
  for (const auto& [text, remedy] : cases) {
    INFO(text);
    CHECK(parsed(text) == "bad volume: " + text + ": Invalid argument; " + remedy);
  }
}

TEST_CASE("two volumes at one path are refused", "[config]") {
  MountOptions options;
  REQUIRE_FALSE(add_volume("/a:/d", options));
  const auto failure = add_volume("web:/d/", options);
  REQUIRE(failure);
  CHECK(failure->what ==
        "two volumes at one path: /d: File exists; leave one of them out, or choose another path "
        "in the mount");
  CHECK_FALSE(add_volume("/a:/e", options));
}

TEST_CASE("volumes come in option strings as well", "[config]") {
  MountOptions options;
  Warnings warnings;
  const auto failure = parse_options(
      R"(volume="/h:/d:ro",volume=web:/e:ro\,nocopy,volume=/f,volumes-from=m,volumes-from=n:ro,)"
      "volume_mode=bind,strict-volumes",
      UnknownWords::kRefuse, options, warnings);
  REQUIRE_FALSE(failure);
  REQUIRE(options.volume_specs.size() == 3);
  CHECK(shown_spec(options.volume_specs[0]) == "bind /h /d ro");
  CHECK(shown_spec(options.volume_specs[1]) == "named web /e ro nocopy");
  CHECK(shown_spec(options.volume_specs[2]) == "anonymous  /f");
  REQUIRE(options.volumes_from.size() == 2);
  CHECK(options.volumes_from[0].name == "m");
  CHECK_FALSE(options.volumes_from[0].read_only);
  CHECK(options.volumes_from[1].read_only);
  CHECK(options.volume_mode == VolumeMode::kBind);
  CHECK(options.strict_volumes);
}

}  // namespace
}  // namespace plyfs::config
