// merge::Lookup against a table of every combination of objects over three layers.
#include "merge/lookup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "catch.h"
#include "child.h"
#include "sys/open.h"
#include "workspace.h"

namespace plyfs::merge {
namespace {

/// What a layer has of a name; one letter each.
constexpr std::string_view kKinds =
    "-"   // nothing
    "w"   // .wh.NAME
    "x"   // an empty file with the whiteout xattr
    "F"   // a file with data
    "M"   // a metadata-only file
    "L"   // a symbolic link
    "D"   // a directory
    "O"   // an opaque directory, by xattr
    "o"   // an opaque directory, by .wh..wh..opq
    "b";  // a directory, and .wh.NAME beside it

bool is_directory(char kind) { return std::string_view{"DOob"}.find(kind) != std::string::npos; }
bool is_whiteout(char kind) { return kind == 'w' || kind == 'x'; }

void mark(const std::string& path, const std::string& name, const std::string& value) {
  REQUIRE(::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0) == 0);
}

void touch(const std::string& path, const std::string& content = {}) {
  std::ofstream{path} << content;
}

void make_directory(const std::string& path) { REQUIRE(::mkdir(path.c_str(), 0755) == 0); }

void make_metacopy(const std::string& path) {
  touch(path);
  REQUIRE(::truncate(path.c_str(), 100'000) == 0);
  mark(path, "user.overlay.metacopy", "");
}

void make(const std::string& layer, const std::string& name, char kind) {
  const std::string path = layer + "/" + name;
  if (is_directory(kind)) {
    make_directory(path);
  }
  switch (kind) {
    case 'w':
    case 'b':
      return touch(layer + "/.wh." + name);
    case 'x':
      touch(path);
      return mark(path, "user.overlay.whiteout", "y");
    case 'F':
      return touch(path, "data");
    case 'M':
      return make_metacopy(path);
    case 'L':
      REQUIRE(::symlink("elsewhere", path.c_str()) == 0);
      return;
    case 'O':
      return mark(path, "user.overlay.opaque", "y");
    case 'o':
      return touch(path + "/.wh..wh..opq");
    default:
      return;
  }
}

/// Three layers in a scratch directory, and the merged root of them. Layer 0 is the upper one.
class ThreeLayers {
 public:
  explicit ThreeLayers(bool has_upper,
                       layer::MarkRules rules = layer::mark_rules(XattrNamespace::kUser))
      : first_(has_upper ? 0 : 1), rules_(rules) {
    for (int number = 0; number < 3; ++number) {
      paths_.push_back(space_.make_directory("layer" + std::to_string(number)));
    }
  }
  [[nodiscard]] const std::string& path(std::size_t number) const { return paths_[number]; }
  [[nodiscard]] layer::LayerIndex index(std::size_t number) const {
    return static_cast<layer::LayerIndex>(number + first_);
  }

  /// After everything is drawn.
  const layer::LayerStack& stack() {
    if (stack_.size() == 0) {
      std::vector<layer::Layer> layers(first_);
      for (const std::string& path : paths_) {
        layer::Layer layer;
        auto root = sys::open_directory_path(path.c_str());
        REQUIRE(root);
        layer.root = *std::move(root);
        layer.path = path;
        REQUIRE(layer::examine(layer, rules_));
        layers.push_back(std::move(layer));
      }
      stack_ = layer::LayerStack{std::move(layers), Xino::kAuto, rules_};
    }
    return stack_;
  }

 private:
  test::Workspace space_;
  std::size_t first_;
  const layer::MarkRules rules_;
  std::vector<std::string> paths_;
  layer::LayerStack stack_;
};

class Root final : public DirectoryAccess {
 public:
  explicit Root(const layer::LayerStack& stack) : stack_(stack) {
    auto parts = Lookup{stack}.root_parts();
    REQUIRE(parts);
    parts_ = *std::move(parts);
  }
  DirectoryParts& parts() override { return parts_; }
  Result<sys::FdPin> open_part(std::size_t index) override {
    ++opened;
    if (index == broken_part) {
      return Errno{EIO};
    }
    auto copy = TRY(sys::duplicate(stack_[parts_[index].layer].root.borrow()));
    return std::make_shared<const sys::UniqueFd>(std::move(copy));
  }
  std::string part_path(std::size_t /*index*/) override { return {}; }

  std::size_t broken_part = 99;  ///< cannot be opened: EIO
  std::size_t opened = 0;

 private:
  const layer::LayerStack& stack_;
  DirectoryParts parts_;
};

struct Expected {
  int error = 0;
  bool found = false;
  std::size_t layer = 0;
  std::vector<std::size_t> parts;  ///< of a directory
  int data = -1;                   ///< layer of a metadata-only copy's data
  bool hidden_by_whiteout = false;
};

/// The rules of the kernel's documentation (filesystems/overlayfs.rst), for one name in three
/// layers. In the lowest layer a metacopy mark says nothing: there is no data below that could be
/// meant.
Expected expected_of(const std::string& kinds) {
  Expected result;
  bool wants_data = false;
  for (std::size_t at = 0; at < kinds.size(); ++at) {
    const char kind = kinds[at];
    const bool is_merging = result.found && !wants_data;
    if (kind == '-') {
      continue;
    }
    if (is_whiteout(kind)) {
      break;
    }
    if (is_directory(kind)) {
      if (wants_data) {
        break;
      }
      result.layer = is_merging ? result.layer : at;
      result.found = true;
      result.parts.push_back(at);
      if (kind != 'D') {
        break;
      }
      continue;
    }
    if (is_merging || (wants_data && kind == 'L')) {
      break;
    }
    const bool has_data = kind != 'M' || at + 1 == kinds.size();
    if (wants_data && has_data) {
      result.data = static_cast<int>(at);
      return result;
    }
    result.layer = result.found ? result.layer : at;
    result.found = true;
    if (has_data) {
      return result;
    }
    wants_data = true;
  }
  result.error = wants_data ? EIO : 0;
  return result;
}

std::vector<std::string> every_combination() {
  std::vector<std::string> all;
  for (const char top : kKinds) {
    for (const char middle : kKinds) {
      for (const char bottom : kKinds) {
        all.push_back({top, middle, bottom});
      }
    }
  }
  return all;
}

bool takes_marks() {
  const test::Workspace space;
  if (::setxattr(space.path().c_str(), "user.probe", "", 0, 0) != 0) {
    test::skip("needs a filesystem with user xattrs");
    return false;
  }
  return true;
}

std::vector<std::size_t> layers_of(DirectoryParts& parts) {
  std::vector<std::size_t> layers;
  for (const DirectoryPart& part : parts) {
    layers.push_back(part.layer);
  }
  return layers;
}

void check_found(ThreeLayers& layers, const Expected& expected, Resolution& found) {
  CHECK(found.found == expected.found);
  if (!expected.found) {
    return;
  }
  CHECK(found.layer == layers.index(expected.layer));
  std::vector<std::size_t> parts;
  for (const std::size_t part : expected.parts) {
    parts.push_back(layers.index(part));
  }
  CHECK(layers_of(found.parts) == parts);
  CHECK(found.stat.is_directory() == !parts.empty());
  REQUIRE(found.data.has_value() == (expected.data >= 0));
  if (found.data) {
    CHECK(found.data->layer == layers.index(static_cast<std::size_t>(expected.data)));
  }
}

TEST_CASE("what a name is, for every combination of objects in three layers", "[merge]") {
  if (!takes_marks()) {
    return;
  }
  for (const bool has_upper : {false, true}) {
    ThreeLayers layers{has_upper};
    const std::vector<std::string> all = every_combination();
    for (const std::string& kinds : all) {
      for (std::size_t number = 0; number < kinds.size(); ++number) {
        make(layers.path(number), kinds, kinds[number]);
      }
    }
    Root root{layers.stack()};
    const Lookup lookup{layers.stack()};
    for (const std::string& kinds : all) {
      CAPTURE(has_upper, kinds);
      const Expected expected = expected_of(kinds);
      Trace trace;
      auto found = lookup.find(root, kinds.c_str(), {}, &trace);
      REQUIRE((found ? 0 : found.error().value()) == expected.error);
      if (found) {
        check_found(layers, expected, *found);
      }
      CHECK(trace.empty() == (kinds == "---"));
      // Whether anything is seen does not depend on where its data is.
      const auto exists = lookup.exists_below(root, kinds.c_str(), {});
      REQUIRE(exists);
      const std::size_t first = kinds.find_first_not_of('-');
      CHECK(*exists == (first != std::string::npos && !is_whiteout(kinds[first])));
    }
  }
}

TEST_CASE("a layer that cannot be asked is an error unless a layer above has decided", "[merge]") {
  ThreeLayers layers{false};
  make(layers.path(0), "file", 'F');
  make(layers.path(0), "gone", 'w');
  make(layers.path(1), "dir", 'D');
  make(layers.path(2), "low", 'F');
  Root root{layers.stack()};
  root.broken_part = 1;
  const Lookup lookup{layers.stack()};
  const auto outcome_of = [&](const char* name) {
    const auto found = lookup.find(root, name, {});
    return !found ? found.error().value() : found->found ? 0 : ENOENT;
  };
  CHECK(outcome_of("file") == 0);
  CHECK(outcome_of("gone") == ENOENT);
  CHECK(outcome_of("dir") == EIO);
  CHECK(outcome_of("low") == EIO);
  CHECK(outcome_of("nowhere") == EIO);
  const auto exists = lookup.exists_below(root, "low", {});
  REQUIRE_FALSE(exists);
  CHECK(exists.error() == EIO);
}

TEST_CASE("layers that are known to lack a name are not asked", "[merge]") {
  ThreeLayers layers{false};
  make(layers.path(2), "low", 'F');
  Root root{layers.stack()};
  const Lookup lookup{layers.stack()};
  const auto found = lookup.find(root, "low", {.first_lower = 3});
  REQUIRE(found);
  CHECK(found->layer == 3);
  CHECK(root.opened == 1);
  CHECK(found->wasted_probes == 0);
  REQUIRE(lookup.find(root, "low", {}));
  CHECK(root.opened == 4);
}

struct RedirectCase {
  const char* redirect;
  int error;
  std::vector<std::size_t> parts;  ///< layers that hold a part, when there is no error
  const char* path;                ///< of the last part, in its layer
};

TEST_CASE("a directory's redirect says where the layers below hold it, and cannot climb",
          "[merge]") {
  if (!takes_marks()) {
    return;
  }
  const RedirectCase cases[] = {
      {"old", 0, {1, 2}, "old"},
      {"/deep/old", 0, {1, 2, 3}, "deep/old"},
      {"nowhere", 0, {1}, nullptr},
      {"/nowhere/old", 0, {1}, nullptr},
      {"/file/old", 0, {1}, nullptr},  // a file on the way ends the search
      {"gone", 0, {1}, nullptr},       // the target is whited out below the directory
      {"..", EINVAL, {}, nullptr},
      {".", EINVAL, {}, nullptr},
      {"deep/old", EINVAL, {}, nullptr},
      {"/", EINVAL, {}, nullptr},
      {"/deep/../old", EINVAL, {}, nullptr},
      {"/deep//old", EINVAL, {}, nullptr},
      {"/deep/old/", EINVAL, {}, nullptr},
  };
  for (const RedirectCase& row : cases) {
    CAPTURE(row.redirect);
    ThreeLayers layers{false};
    make(layers.path(0), "new", 'D');
    mark(layers.path(0) + "/new", "user.overlay.redirect", row.redirect);
    for (const char* name : {"new", "old", "deep"}) {  // "new" below is another directory
      make(layers.path(1), name, 'D');
    }
    make(layers.path(1), "file", 'F');
    make(layers.path(1), "gone", 'w');
    make_directory(layers.path(1) + "/deep/old");
    for (const char* name : {"file", "deep", "gone"}) {
      make(layers.path(2), name, 'D');
    }
    make_directory(layers.path(2) + "/deep/old");
    make_directory(layers.path(2) + "/file/old");
    Root root{layers.stack()};
    auto found = Lookup{layers.stack()}.find(root, "new", {});
    REQUIRE((found ? 0 : found.error().value()) == row.error);
    if (!found) {
      continue;
    }
    CHECK(layers_of(found->parts) == row.parts);
    if (row.path != nullptr) {
      const auto& path = found->parts[found->parts.size() - 1].path;
      REQUIRE(path);
      CHECK(*path == row.path);
    }
  }
}

TEST_CASE("a metadata-only file's redirect says where its data is", "[merge]") {
  if (!takes_marks()) {
    return;
  }
  ThreeLayers layers{false};
  for (const auto& [name, redirect] :
       {std::pair{"near", "old"}, {"far", "/deep/old"}, {"lost", "nowhere"}, {"up", ".."}}) {
    make(layers.path(0), name, 'M');
    mark(layers.path(0) + "/" + name, "user.overlay.redirect", redirect);
  }
  make(layers.path(1), "near", 'F');  // not what is meant
  make(layers.path(1), "old", 'F');
  make(layers.path(2), "deep", 'D');
  touch(layers.path(2) + "/deep/old", "data");
  Root root{layers.stack()};
  const Lookup lookup{layers.stack()};
  const auto near = lookup.find(root, "near", {});
  REQUIRE(near);
  REQUIRE(near->data);
  CHECK(near->data->layer == 2);
  CHECK(near->data->path == "old");
  const auto far = lookup.find(root, "far", {});
  REQUIRE(far);
  REQUIRE(far->data);
  CHECK(far->data->layer == 3);
  CHECK(far->data->path == "deep/old");
  const auto lost = lookup.find(root, "lost", {});
  REQUIRE_FALSE(lost);
  CHECK(lost.error() == EIO);
  const auto up = lookup.find(root, "up", {});
  REQUIRE_FALSE(up);
  CHECK(up.error() == EINVAL);
}

TEST_CASE(
    "an opaque directory on the way of a redirect does not keep a metadata-only file from its data",
    "[merge]") {
  if (!takes_marks()) {
    return;
  }
  ThreeLayers layers{false};
  make(layers.path(0), "top", 'M');
  mark(layers.path(0) + "/top", "user.overlay.redirect", "/d/middle");
  make(layers.path(0), "cut", 'M');
  mark(layers.path(0) + "/cut", "user.overlay.redirect", "/d/absent");
  make(layers.path(1), "d", 'O');
  make(layers.path(1) + "/d", "middle", 'M');
  mark(layers.path(1) + "/d/middle", "user.overlay.redirect", "/bottom");
  touch(layers.path(2) + "/bottom", "data");
  make(layers.path(2), "d", 'D');
  touch(layers.path(2) + "/d/absent", "hidden");
  Root root{layers.stack()};
  const Lookup lookup{layers.stack()};
  const auto top = lookup.find(root, "top", {});
  REQUIRE(top);
  REQUIRE(top->data);
  CHECK(top->data->layer == 3);
  CHECK(top->data->path == "bottom");
  const auto cut = lookup.find(root, "cut", {});
  REQUIRE_FALSE(cut);
  CHECK(cut.error() == EIO);
}

TEST_CASE("an absolute redirect leads out of an opaque directory, and nothing else does",
          "[merge]") {
  if (!takes_marks()) {
    return;
  }
  ThreeLayers layers{false};
  make(layers.path(0), "moved", 'D');
  mark(layers.path(0) + "/moved", "user.overlay.redirect", "/f/x");
  make(layers.path(0), "deep", 'D');
  mark(layers.path(0) + "/deep", "user.overlay.redirect", "/f/x/y");
  make(layers.path(0), "cut", 'D');
  mark(layers.path(0) + "/cut", "user.overlay.redirect", "/f/none/y");
  make(layers.path(0), "plain", 'D');
  mark(layers.path(0) + "/plain", "user.overlay.redirect", "/f/p");
  make(layers.path(1), "f", 'O');
  make(layers.path(1) + "/f", "x", 'D');
  mark(layers.path(1) + "/f/x", "user.overlay.redirect", "/b");
  make(layers.path(1) + "/f/x", "y", 'D');
  make(layers.path(1) + "/f", "p", 'D');
  make(layers.path(2), "b", 'D');
  make(layers.path(2) + "/b", "y", 'D');
  make(layers.path(2), "f", 'D');
  for (const char* hidden : {"x", "none", "p"}) {
    make(layers.path(2) + "/f", hidden, 'D');
    make(layers.path(2) + "/f/" + hidden, "y", 'D');
  }
  Root root{layers.stack()};
  const Lookup lookup{layers.stack()};
  const auto parts_of = [&](const char* name) {
    std::vector<std::string> parts;
    auto found = lookup.find(root, name, {});
    REQUIRE(found);
    for (const DirectoryPart& part : found->parts) {
      parts.push_back(std::to_string(part.layer) + ':' + (part.path ? *part.path : std::string{}));
    }
    return parts;
  };
  using Parts = std::vector<std::string>;
  CHECK(parts_of("moved") == Parts{"1:", "2:f/x", "3:b"});
  CHECK(parts_of("deep") == Parts{"1:", "2:f/x/y", "3:b/y"});
  CHECK(parts_of("cut") == Parts{"1:"});
  CHECK(parts_of("plain") == Parts{"1:", "2:f/p"});
}

FileStat object_of(uid_t uid, gid_t gid, mode_t mode) {
  FileStat stat;
  stat.uid = uid;
  stat.gid = gid;
  stat.mode = mode;
  return stat;
}

TEST_CASE("a mark in user.* is believed where nobody but the mounter or root can write it") {
  struct Row {
    layer::MarkRules rules;
    FileStat marked;
    bool believed;
  };
  const layer::MarkRules user{.all_ids = true, .mounter = 1000};
  const layer::MarkRules container{.all_ids = false, .mounter = 0};
  const layer::MarkRules root{.privileged = true, .all_ids = true, .mounter = 0};
  for (const Row& row : {Row{user, object_of(1000, 1000, kTypeRegular | 0644), true},
                         Row{user, object_of(0, 0, kTypeRegular | 0644), true},
                         Row{user, object_of(1001, 1001, kTypeRegular | 0600), false},
                         Row{user, object_of(1000, 1000, kTypeRegular | 0664), true},
                         Row{user, object_of(1000, 100, kTypeRegular | 0664), false},
                         Row{user, object_of(1000, 1000, kTypeRegular | 0666), false},
                         Row{user, object_of(1000, 1000, kTypeDirectory | 0777), false},
                         Row{user, object_of(1000, 1000, kTypeDirectory | 01777), true},
                         Row{user, object_of(1001, 1000, kTypeDirectory | 01777), false},
                         Row{container, object_of(33, 33, kTypeRegular | 0664), true},
                         Row{container, object_of(65534, 33, kTypeRegular | 0644), false},
                         Row{container, object_of(33, 33, kTypeRegular | 0666), false},
                         Row{root, object_of(0, 0, kTypeRegular | 0644), true},
                         Row{root, object_of(1000, 0, kTypeRegular | 0600), false}}) {
    CAPTURE(row.rules.mounter, row.marked.uid, row.marked.gid, row.marked.mode);
    CHECK(row.rules.believes(row.marked) == row.believed);
  }
}

/// What a user's mount says about a name of somebody else's layer above his own.
std::string answer_to(const std::string& name, const Lookup& lookup, Root& root) {
  const auto found = lookup.find(root, name.c_str(), {});
  return !found                                       ? found.error().message()
         : found->data                                ? "data"
         : found->stat.is_directory() && found->found ? std::to_string(found->parts.size())
         : found->found                               ? "itself"
                                                      : "nothing";
}

TEST_CASE("in a user's mount somebody else's mark leads only where everybody may go") {
  if (::geteuid() != 0) {
    WARN("SKIPPED: needs root: files of several users");
    return;
  }
  constexpr uid_t kMounter = 1000;
  constexpr uid_t kOther = 1001;
  ThreeLayers layers{false, {.all_ids = true, .mounter = kMounter}};
  const std::string above = layers.path(0) + "/..";
  REQUIRE(::chmod(above.c_str(), 0755) == 0);  // else only root reaches the layers
  const auto metadata_only = [&](const std::string& name, const std::string& redirect,
                                 uid_t owner) {
    const std::string path = layers.path(0) + "/" + name;
    make_metacopy(path);
    mark(path, "user.overlay.redirect", redirect);
    REQUIRE(::chmod(path.c_str(), 0644) == 0);
    REQUIRE(::chown(path.c_str(), owner, owner) == 0);
  };
  touch(layers.path(1) + "/private", "0123456789");
  REQUIRE(::chmod((layers.path(1) + "/private").c_str(), 0600) == 0);
  touch(layers.path(1) + "/public", "0123456789");
  REQUIRE(::chmod((layers.path(1) + "/public").c_str(), 0644) == 0);
  REQUIRE(::mkdir((layers.path(1) + "/closed").c_str(), 0700) == 0);
  touch(layers.path(1) + "/closed/f", "0123456789");
  REQUIRE(::chmod((layers.path(1) + "/closed/f").c_str(), 0644) == 0);
  metadata_only("a", "/private", kOther);
  metadata_only("b", "/closed/f", kOther);
  metadata_only("c", "/public", kOther);
  metadata_only("d", "/private", kMounter);
  for (const auto& [name, owner] : {std::pair{"theirs", kOther}, std::pair{"own", kMounter}}) {
    const std::string path = layers.path(0) + "/" + name;
    REQUIRE(::mkdir(path.c_str(), 0755) == 0);
    mark(path, "user.overlay.redirect", "/closed");
    REQUIRE(::chown(path.c_str(), owner, owner) == 0);
  }
  const Lookup lookup{layers.stack()};
  Root root{layers.stack()};
  const std::string refused = Errno{EPERM}.message();
  CHECK(answer_to("a", lookup, root) == refused);
  CHECK(answer_to("b", lookup, root) == refused);
  CHECK(answer_to("c", lookup, root) == "data");
  CHECK(answer_to("d", lookup, root) == "data");
  CHECK(answer_to("theirs", lookup, root) == refused);
  CHECK(answer_to("own", lookup, root) == "2");
}

}  // namespace
}  // namespace plyfs::merge
