#include "verbs.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

namespace plyfs::tests {

std::string write_and_sync(const std::string& path, std::string_view data, int flags) {
  File handle(path, O_RDWR | flags);
  if (handle.fd() < 0) {
    return handle.opened();
  }
  const std::string written = handle.pwrite(data, 3);
  const std::string synced = outcome(::fsync(handle.fd()));
  return written == "ok" ? synced : written;
}

namespace {

const std::vector<Verb> kVerbs = {
    {"write a lower file", [](const Stack& s) { return write_and_sync(s("low/f"), "W", 0); }},
    {"write an upper file", [](const Stack& s) { return write_and_sync(s("up/f"), "W", 0); }},
    {"chmod a lower file", [](const Stack& s) { return call::chmod(s("low/f"), 0600); }},
    {"chown a lower file",
     [](const Stack& s) { return call::chown(s("low/g"), ::getuid(), ::getgid()); }},
    {"utimens a lower file",
     [](const Stack& s) {
       return call::utimens(s("low/g"), {5, 6}, {7, 8});
     }},
    {"truncate a lower file", [](const Stack& s) { return call::truncate(s("low/f"), 5000); }},
    {"truncate a lower file to nothing",
     [](const Stack& s) { return call::truncate(s("low/f"), 0); }},
    {"setxattr of a lower file",
     [](const Stack& s) { return call::setxattr(s("low/f"), "user.new", "n"); }},
    {"removexattr of a lower file",
     [](const Stack& s) { return call::removexattr(s("low/f"), "user.k"); }},
    {"chmod a lower directory", [](const Stack& s) { return call::chmod(s("m/deep"), 0700); }},
    {"create", [](const Stack& s) { return call::create(s("low/new")); }},
    {"create over a whiteout", [](const Stack& s) { return call::create(s("w")); }},
    {"mkdir", [](const Stack& s) { return call::mkdir(s("m/deep/new")); }},
    {"mkdir over a whiteout", [](const Stack& s) { return call::mkdir(s("w")); }},
    {"symlink", [](const Stack& s) { return call::symlink("x", s("low/new")); }},
    {"symlink over a whiteout", [](const Stack& s) { return call::symlink("x", s("w")); }},
    {"mknod", [](const Stack& s) { return call::mknod(s("low/new"), S_IFIFO | 0600); }},
    {"link a lower file", [](const Stack& s) { return call::link(s("low/g"), s("up/link")); }},
    {"link over a whiteout", [](const Stack& s) { return call::link(s("up/f"), s("w")); }},
    {"unlink a lower file", [](const Stack& s) { return call::unlink(s("low/g")); }},
    {"unlink a lower hard link", [](const Stack& s) { return call::unlink(s("low/h")); }},
    {"unlink an upper file", [](const Stack& s) { return call::unlink(s("up/f")); }},
    {"rmdir a lower directory", [](const Stack& s) { return call::rmdir(s("low/empty")); }},
    {"rmdir an upper directory", [](const Stack& s) { return call::rmdir(s("up/d")); }},
    {"rename a lower file",
     [](const Stack& s) { return call::rename(s("low/g"), s("m/deep/moved")); }},
    {"rename a lower hard link",
     [](const Stack& s) { return call::rename(s("low/h"), s("m/moved")); }},
    {"rename an upper file over a lower one",
     [](const Stack& s) { return call::rename(s("up/f"), s("low/f")); }},
    {"rename over a whiteout", [](const Stack& s) { return call::rename(s("low/g"), s("w")); }},
    {"rename a lower directory",
     [](const Stack& s) { return call::rename(s("low"), s("up/moved")); }},
    {"rename a merged directory", [](const Stack& s) { return call::rename(s("m"), s("moved")); }},
    {"rename a directory over an empty one",
     [](const Stack& s) { return call::rename(s("m"), s("low/empty")); }},
    {"exchange a file and a directory",
     [](const Stack& s) { return call::rename(s("low/g"), s("m"), RENAME_EXCHANGE); }},
    {"exchange lower files",
     [](const Stack& s) { return call::rename(s("low/g"), s("low/f"), RENAME_EXCHANGE); }},
    {"fallocate a lower file",
     [](const Stack& s) {
       const File handle(s("low/g"), O_RDWR);
       if (handle.fd() < 0) {
         return handle.opened();
       }
       return outcome(::fallocate(handle.fd(), 0, 0, 5000));
     }},
};

}  // namespace

const std::vector<Verb>& verbs() { return kVerbs; }

Stack layers_of_verbs() {
  return Stack{}
      .lower({file("low/f", pattern(300'000)).with_xattr("user.k", "v").with_mode(0640),
              hardlink("low/h", "low/f"), file("low/g", "g"), dir("low/empty"),
              symlink("low/l", "f"), file("m/top", "t"), fifo("low/p")})
      .lower({file("m/deep/x", "x"), file("m/low", "l"), file("gone/x", "1"), file("w", "w")})
      .upper({file("m/up", "u"), file("up/f", "upper"), dir("up/d"), whiteout("w")});
}

Trees undisturbed(const System& system, const Verb& verb) {
  Stack stack = layers_of_verbs();
  stack.mount(system);
  Trees trees;
  trees.before = dump_without_times(stack());
  trees.outcome = verb.change(stack);
  CHECK((trees.outcome == "ok" || (trees.outcome == "EXDEV" && !system.redirect)));
  stack.remount();
  trees.after = dump_without_times(stack());
  return trees;
}

}  // namespace plyfs::tests
