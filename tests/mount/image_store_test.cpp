// plyfs image: what comes out of archives, what is refused, what a kill leaves, and the way back.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "image_archives.h"
#include "kill_step.h"
#include "skip.h"
#include "store_host.h"
#include "system.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLayers = R"(
low = layer(d('./'), d('a', mode=0o750), f('a/one', '1'), f('a/two', '2'), h('a/hard', 'a/one'), l('sym', 'a/one'),
            d('gone'), f('gone/x'), d('again'), f('again/old'), f('tool', 'run', mode=0o4755), d('t', mode=0o1777))
top = layer(f('a/.wh.two', ''), f('.wh.gone', ''), f('again/.wh..wh..opq', ''), f('again/new', 'n'), f('t/in', 'i'),
            f('a/one', 'changed'))
)";

std::vector<std::string> names_at(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator{directory, error}) {
    names.push_back(entry.path().filename());
  }
  std::ranges::sort(names);
  return names;
}

/// The directories of the layers of an image, the lowest first.
std::vector<std::string> layers_of(const Host& host, const std::string& name) {
  const Ran ran = host.plyfs({"image", "inspect", name});
  std::vector<std::string> paths;
  const std::string key = "\"Directory\": \"";
  for (std::size_t at = 0; (at = ran.out.find(key, at)) != std::string::npos;) {
    at += key.size();
    paths.push_back(ran.out.substr(at, ran.out.find('"', at) - at));
  }
  return paths;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Nothing of an import is left but what may be.
void check_no_image(const Host& host) {
  CHECK(names_at(host("home/images")).empty());
  CHECK(names_at(host("home/refs")).empty());
  for (const std::string& name : names_at(host("home/layers"))) {
    CHECK(name == "sha256");
  }
}

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_CASE("an image of each format gives the same layers, once", "[images]") {
  Host host({});
  make_archives(host, std::string{kLayers} + R"(
layout('plain.tar', [low, top]); layout('gzip/', [gz(low), gz(top)]); docker('docker.tar', [low, top])
blobs = {}
other = named(blobs, image(blobs, [low]), 'x', platform={'os': 'plan9', 'architecture': 'mips'})
here = named(blobs, image(blobs, [low, top]), 'x')
index = describe(blobs, json.dumps({'schemaVersion': 2, 'manifests': [other, here]}).encode(), OCI + 'index.v1+json',
                 annotations={'org.opencontainers.image.ref.name': 'nested'})
layout_of('nested.tar', blobs, [index])
)");
  CHECK(said(host.plyfs({"image", "import", "--ref", "p", host("plain.tar")})) == "0 p:latest\n");
  const auto before = names_at(host("home/layers/sha256"));
  CHECK(before.size() == 4);  // two layers, each with its record
  CHECK(said(host.plyfs({"image", "import", "--ref", "g:1", host("gzip")})) == "0 g:1\n");
  CHECK(said(host.plyfs({"image", "import", host("docker.tar")})) == "0 made:old\n");
  CHECK(said(host.plyfs({"image", "import", host("nested.tar")})) == "0 nested:latest\n");
  const Ran piped = run({"sh", "-c",
                         "cat '" + host("plain.tar") + "' | env PLYFS_HOME='" + host("home") +
                             "' '" + plyfs_program() + "' image import - --ref piped"});
  CHECK(said(piped) == "0 piped:latest\n");
  CHECK(names_at(host("home/layers/sha256")) == before);
  const auto layers = layers_of(host, "p");
  REQUIRE(layers.size() == 2);
  for (const char* name : {"g:1", "made:old", "nested", "piped"}) {
    CHECK(layers_of(host, name) == layers);
  }
  CHECK((status(host("home/layers")).st_mode & 0777) == 0700);
  CHECK(status(layers[0] + "/a/one").st_ino == status(layers[0] + "/a/hard").st_ino);
  // What the upper layer goes through without an entry is as it was below.
  CHECK((status(layers[1] + "/a").st_mode & 07777) == 0750);
  CHECK((status(layers[1] + "/t").st_mode & 07777) == 01777);
  CHECK(host.plyfs({"image", "verify"}).exit_code == 0);
}

TEST_CASE("an image is mounted as its layers say, and stays while it is used", "[images]") {
  if (!can_mount()) {
    return skip("no FUSE here");
  }
  Host host({});
  make_archives(host, std::string{kLayers} +
                          "layout('i.tar', [gz(low), top], config={'Volumes': {'/data': {}}})\n");
  CHECK(host.plyfs({"image", "import", host("i.tar")}).exit_code == 0);
  REQUIRE(::mkdir(host("up").c_str(), 0755) == 0);
  REQUIRE(::mkdir(host("m").c_str(), 0755) == 0);
  const Ran mounted = host.plyfs({"mount", "-o", "volume_mode=fuse", "--image", "made", "--upper",
                                  host("up"), "--name", "used", host("m")});
  REQUIRE(said(mounted) == "0 ");
  CHECK(picture(host("m")) == Picture{"a/", "a/hard=1", "a/one=changed", "again/", "again/new=n",
                                      "data/", "sym->a/one", "t/", "t/in=i", "tool=run"});
  CHECK(names_at(host("home/volumes")).size() == 1);
  const Ran refused = host.plyfs({"image", "rm", "made"});
  CHECK(refused.exit_code == 2);
  CHECK(holds(refused.err, "in use by used at " + host("m")));
  CHECK(host.plyfs({"image", "prune", "--all"}).exit_code == 0);
  CHECK(layers_of(host, "made").size() == 2);
  REQUIRE(call::create(host("m/made"), "here") == "ok");
  REQUIRE(call::unlink(host("m/sym")) == "ok");
  const Ran committed = host.plyfs({"commit", "used", "--image", "two:v2", "-c", "ENV=A=1", "-c",
                                    "CMD=[\"made\"]", "--message", "why"});
  CHECK(committed.exit_code == 0);
  CHECK(said(host.plyfs({"umount", host("m")})) == "0 ");
  const auto layers = layers_of(host, "two:v2");
  REQUIRE(layers.size() == 3);
  CHECK(std::equal(layers.begin(), layers.begin() + 2, layers_of(host, "made").begin()));
  CHECK(content(layers[2] + "/made") == "here");
  CHECK(status(layers[2] + "/sym").st_rdev == 0);
  CHECK(holds(host.plyfs({"image", "inspect", "two:v2"}).out, "\"A=1\""));
  CHECK(holds(host.plyfs({"image", "history", "two:v2"}).out, "plyfs commit"));
  CHECK(host.plyfs({"image", "rm", "made"}).exit_code == 2);  // the record of `used` wants it
  CHECK(said(host.plyfs({"rm", "used"})) == "0 used\n");
  CHECK(host.plyfs({"image", "rm", "made"}).exit_code == 0);
  CHECK(layers_of(host, "two:v2") == layers);
  CHECK(host.plyfs({"image", "verify", "two:v2"}).exit_code == 0);
  CHECK(host.plyfs({"image", "rm", "two:v2"}).exit_code == 0);
  CHECK(names_at(host("home/layers/sha256")).empty());
  CHECK(names_at(host("home/blobs/sha256")).empty());
}

TEST_CASE("what was kept goes out as it came; else it says what is another", "[images]") {
  Host host({});
  make_archives(host, std::string{kLayers} + "layout('i.tar', [gz(low), top])\n");
  CHECK(host.plyfs({"image", "import", host("i.tar")}).exit_code == 0);
  const std::string before = host.plyfs({"image", "inspect", "made"}).out;
  for (const char* format : {"oci", "docker"}) {
    const Host other({});
    CHECK(said(host.plyfs({"image", "export", "made", other("o.tar"), "--format", format})) ==
          "0 ");
    CHECK(said(other.plyfs({"image", "import", other("o.tar")})) == "0 made:latest\n");
    const std::string after = other.plyfs({"image", "inspect", "made"}).out;
    CHECK(after.substr(0, after.find("RepoTags")) == before.substr(0, before.find("RepoTags")));
    CHECK(names_at(other("home/layers/sha256")) == names_at(host("home/layers/sha256")));
  }
  Host bare({});
  CHECK(bare.plyfs({"image", "import", "--no-blobs", host("i.tar")}).exit_code == 0);
  CHECK(names_at(bare("home/blobs/sha256")).size() == 2);
  const Ran packed = bare.plyfs({"image", "export", "made", bare("o.tar")});
  CHECK(packed.exit_code == 0);
  CHECK(holds(packed.err, "packed anew: its id is sha256:"));
  CHECK(host.plyfs({"image", "import", bare("o.tar"), "--ref", "packed"}).exit_code == 0);
  const auto ours = layers_of(host, "made");
  const auto theirs = layers_of(host, "packed");
  REQUIRE(ours.size() == theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    CHECK(picture(ours[i]) == picture(theirs[i]));
  }
}

TEST_CASE("a hostile image leaves nothing, within the store or without", "[images][hostile]") {
  Host host({});
  make_archives(host, std::string{kLayers} + R"(
bad = {
 'dotdot': layer(f('../out')), 'dotdot-in': layer(f('a/../../out')), 'through-link': layer(l('a', '/tmp'), f('a/out')),
 'through-relative': layer(l('a', '..'), f('a/out')), 'hard-out': layer(h('x', '/etc/passwd')), 'hard-dots': layer(h('x', '../canary')),
 'hard-through': layer(l('a', '..'), h('x', 'a/canary')), 'hard-self': layer(h('x', 'x')), 'bare-mark': layer(f('.wh.', '')),
 'mark-dot': layer(f('a/.wh..', '')), 'mark-dots': layer(f('a/.wh...', '')), 'in-mark': layer(f('.wh.a/x')),
 'root-link': layer(l('./', '/tmp')), 'root-file': layer(f('.')), 'deep': layer(f('d/' * 300 + 'x')),
 'cut': low[:1500], 'no-end': low[:5120], 'junk': b'no tar' * 1000, 'empty': b'', 'bomb': gz(layer(f('big', b'\0' * 30000000))),
 'many': layer(*[f('f%d' % i, '') for i in range(3000)]), 'gzip-cut': gz(low)[:-20], 'gzip-junk': b'\x1f\x8b' + b'x' * 500,
 'pax': layer(f('x', pax_headers={'SCHILY.xattr.user.a': 'v' * 3000000}), f('y', pax_headers={'path': '../out'})),
}
for name, one in bad.items(): layout(name + '.tar', [one], diff_ids=[sha(one)] if name in ('gzip-cut', 'gzip-junk') else None)
layout('lying-digest.tar', [low], change=lambda files: files.update({'blobs/sha256/' + sha(low)[7:]: top + b'\0' * (len(low) - len(top))}))
layout('lying-diff-id.tar', [gz(low)], diff_ids=[sha(top)])
layout('two-things.tar', [low], manifest_more={'manifests': []})
layout('lying-type.tar', [low], manifest_more={'mediaType': OCI + 'index.v1+json'})
layout('too-few.tar', [low], diff_ids=[sha(low), sha(low)])
layout('layers.tar', [low] * 10000)
layout('nested-json.tar', [low], change=lambda files: files.update({'index.json': b'[' * 100000}))
layout('no-blob.tar', [low], change=lambda files: files.pop('blobs/sha256/' + sha(low)[7:]))
write('docker-out.tar', {'manifest.json': json.dumps([{'Config': '../../../etc/passwd', 'Layers': ['/etc/passwd']}]).encode()})
write('docker-out/', {'manifest.json': json.dumps([{'Config': '../canary', 'Layers': ['/etc/passwd']}]).encode()})
write('nothing.tar', {'readme': b'x'})
)");
  write_new(host("canary"), "alive");
  const Dump outside = full_dump(host("image"));
  for (const auto& entry : fs::directory_iterator{host(".")}) {
    const std::string path = entry.path();
    if (!path.ends_with(".tar") && !path.ends_with("docker-out")) {
      continue;
    }
    INFO(path);
    const Ran ran = host.plyfs({"image", "import", "--max-size", "20M", "--max-entries", "2000",
                                "--progress", "none", path});
    CHECK(ran.exit_code == 2);
    CHECK(ran.err.starts_with("plyfs: cannot import"));
    CHECK(std::ranges::count(ran.err, '\n') == 1);
    check_no_image(host);
    CHECK(names_at(host("home/layers/sha256")).empty());
    CHECK(names_at(host("home/blobs/sha256")).empty());
  }
  CHECK(content(host("canary")) == "alive");
  CHECK_FALSE(fs::exists(host("out")));
  CHECK(full_dump(host("image")) == outside);
}

TEST_CASE("odd layers come out as every reader has them", "[images]") {
  Host host({});
  make_archives(host, R"(
one = layer(f('/absolute', 'a'), f('twice', '1'), d('twice'), f('twice/in', '2'), d('file'), f('file/x'), f('file', 'now a file'),
            f('twice/in', 'last'), f('.wh.both', ''), d('both'), f('both/x'), f('late', '1'), f('.wh.late', ''),
            n('null', 1, 3), n('white', 0, 0), f('.wh..wh.plnk/x', '') if False else f('.wh..wh.aufs', ''),
            f('marked', '', pax_headers={'SCHILY.xattr.user.overlay.whiteout': 'y', 'SCHILY.xattr.user.overlay.redirect': '/etc'}),
            f('\udcff\u00fc', 'odd'))
layout('odd.tar', [one])
)");
  const Ran ran = host.plyfs({"image", "import", host("odd.tar")});
  CHECK(ran.exit_code == 0);
  const auto layers = layers_of(host, "made");
  REQUIRE(layers.size() == 1);
  CHECK(content(layers[0] + "/absolute") == "a");
  CHECK(content(layers[0] + "/twice/in") == "last");
  CHECK(content(layers[0] + "/file") == "now a file");
  CHECK(content(layers[0] + "/late") == "1");  // deletions are of the layers below
  CHECK(holds(ran.err, "left out"));
  CHECK_FALSE(fs::exists(layers[0] + "/white"));
  CHECK_FALSE(fs::exists(layers[0] + "/.wh.both"));
  CHECK(fs::exists(layers[0] + "/null") == (::geteuid() == 0));
  const std::string xattrs = run({"getfattr", "-d", "-m", "-", layers[0] + "/marked"}).out +
                             run({"getfattr", "-d", "-m", "-", layers[0] + "/both"}).out;
  CHECK_FALSE(holds(xattrs, "user.overlay.whiteout"));
  CHECK_FALSE(holds(xattrs, "user.overlay.redirect"));
}

TEST_CASE("an import that is killed leaves no image, and the next one makes it",
          "[images][crash]") {
  if (!is_root()) {
    return skip("needs root: a newuidmap that is traced has no privileges");
  }
  Host host({});
  make_archives(host, std::string{kLayers} + "layout('i.tar', [gz(low), top])\n");
  unsigned kills = 0;
  try {
    kills = kill_at_every_change(host.command({"image", "import", host("i.tar"), "--ref", "k"}),
                                 [&](unsigned step) {
                                   INFO(step);
                                   const Ran verified = host.plyfs({"image", "verify"});
                                   CHECK(verified.exit_code == 0);
                                 });
  } catch (const std::exception& error) {
    return skip(std::string{"no ptrace(2): "} + error.what());
  }
  CHECK(kills > 20);
  CHECK(layers_of(host, "k").size() == 2);
  CHECK(host.plyfs({"image", "verify"}).exit_code == 0);
  CHECK(host.plyfs({"image", "prune"}).exit_code == 0);
  CHECK(names_at(host("home/layers")) == std::vector<std::string>{"sha256"});
}

TEST_CASE("two imports of one image at once both succeed", "[images]") {
  Host host({});
  make_archives(host, std::string{kLayers} + R"(
more = [layer(*[f('d%d/%d' % (k, i), 'x' * 5000) for i in range(100)]) for k in range(6)]
layout('i.tar', [gz(one) for one in [low, top] + more])
)");
  std::vector<pid_t> running;
  for (int i = 0; i < 4; ++i) {
    running.push_back(start(host.command({"image", "import", "-q", host("i.tar")})));
  }
  for (const pid_t pid : running) {
    CHECK(wait_for(pid, 60) == 0);
  }
  CHECK(layers_of(host, "made").size() == 8);
  CHECK(host.plyfs({"image", "verify"}).exit_code == 0);
  CHECK(names_at(host("home/layers")) == std::vector<std::string>{"sha256"});
}

}  // namespace
}  // namespace plyfs::tests
