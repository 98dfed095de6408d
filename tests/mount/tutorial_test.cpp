// The tutorial on data volumes, retold with plyfs commands: what an image and its containers do
// there, a stack and its mounts do here. One story; each step stands on those before.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "store_host.h"
#include "system.h"
#include "volumes.h"

namespace plyfs::tests {
namespace {

/// A value of the first object of a JSON list, by a python expression over `m`.
std::string value_of(const Ran& ran, const std::string& expression) {
  const Ran answer =
      run({"python3", "-c",
           "import json, sys\nm = json.loads(sys.argv[1])[0]\nprint(" + expression + ")", ran.out});
  return answer.out.substr(0, answer.out.find_last_not_of('\n') + 1) + answer.err;
}

/// One teller of the story: the same steps with served volumes and with bound ones.
class Story {
 public:
  explicit Story(const std::string& mode)
      : mode_(mode),
        host_({file("etc/motd", "image"), file("usr/share/nginx/html/index.html", "welcome"),
               file("usr/share/nginx/html/50x.html", "error").with_mode(0640), file("gone", "x"),
               dir("data"), file("root/.bash_history", "old"), file("bin/catalina.sh", "stock")}) {}

  void tell() {
    the_image_is_never_written();
    host_and_mount_share_a_directory();
    a_volume_hides_and_is_never_filled_from_the_host_side();
    managed_volumes_are_filled_from_the_image();
    read_only_means_read_only();
    single_files();
    several_mounts_on_one_volume();
    data_outlives_its_mounts();
    volumes_are_taken_over();
    a_backup_and_its_way_to_another_machine();
    the_upper_becomes_a_layer();
    options_in_a_file();
    nothing_goes_away_by_itself();
  }

 private:
  Ran mount(const std::string& name, const Arguments& more) {
    Arguments all{"-o", "volume_mode=" + mode_};
    all.insert(all.end(), more.begin(), more.end());
    return host_.mount(name, all);
  }
  void umount(const std::string& name) { CHECK_DONE(host_.plyfs({"umount", name}), ""); }
  [[nodiscard]] std::string in(const std::string& name, const std::string& path) const {
    return host_.in(name, path);
  }

  // Rows 1 to 6 of the story: layers, copy-up, whiteouts; the upper outlives an unmount.
  void the_image_is_never_written() {
    const Dump image = full_dump(host_("image"));
    CHECK_DONE(mount("box", {}), "");
    CHECK(call::append(in("box", "etc/motd"), "+") == "ok");
    CHECK(call::unlink(in("box", "gone")) == "ok");
    CHECK(call::stat(in("box", "gone")) == "ENOENT");
    CHECK(call::create(in("box", "gone"), "again") == "ok");
    umount("box");
    CHECK_DONE(mount("box", {}), "");
    CHECK(joined({content(in("box", "etc/motd")), content(in("box", "gone"))}) == "image+ again");
    umount("box");
    CHECK(difference(image, full_dump(host_("image"))).empty());
  }

  // 7, 9, 13, 14: a directory of the host, both ways, at once; made if it is missing.
  void host_and_mount_share_a_directory() {
    CHECK_DONE(mount("tomcat", {"-v", host_("logs/tomcat") + ":/var/log/tomcat"}), "");
    CHECK(call::create(in("tomcat", "var/log/tomcat/access.log"), "GET /\n") == "ok");
    CHECK(content(host_("logs/tomcat/access.log")) == "GET /\n");
    {
      const File tail(in("tomcat", "var/log/tomcat/access.log"), O_RDONLY);
      CHECK(call::append(host_("logs/tomcat/access.log"), "rotated\n") == "ok");
      CHECK(tail.read_all() == "GET /\nrotated\n");
    }
    umount("tomcat");
    CHECK(picture(host_("u-tomcat")).empty());  // nothing of it in the layers
    CHECK(host_.mount("bad", {"-v", "logs/x:/y"}).exit_code == 1);
    const Ran strict = host_.mount("bad", {"--strict-volumes", "-v", host_("none") + ":/y"});
    CHECK(strict.exit_code == 32);
    CHECK(!exists(host_("none")));
  }

  // 12: what is bound hides the image's content, and is not filled with it.
  void a_volume_hides_and_is_never_filled_from_the_host_side() {
    make(host_("www"), {file("mine.html", "m")});
    CHECK_DONE(mount("nginx", {"-v", host_("www") + ":/usr/share/nginx/html"}), "");
    CHECK(picture(in("nginx", "usr/share/nginx/html")) == Picture{"mine.html=m"});
    umount("nginx");
    CHECK(picture(host_("www")) == Picture{"mine.html=m"});
  }

  // 10, 11, 17: created with the mount, filled from the image; the keys of inspect.
  void managed_volumes_are_filled_from_the_image() {
    CHECK_DONE(mount("web", {"-v", "html:/usr/share/nginx/html", "-v", "/data"}), "");
    const Picture pages = {"50x.html=error", "index.html=welcome"};
    CHECK(picture(host_.data("html")) == pages);
    CHECK(permissions(host_.data("html") + "/50x.html") == 0640);
    CHECK(call::overwrite(in("web", "usr/share/nginx/html/index.html"), "new") == "ok");
    CHECK(content(host_.data("html") + "/index.html") == "new");
    const Ran inspected = host_.plyfs({"inspect", "web"});
    CHECK(value_of(inspected, "sorted(m['Mounts'][0])") ==
          "['Destination', 'Driver', 'Mode', 'Name', 'Propagation', 'RW', 'Source', 'Type']");
    CHECK(value_of(inspected, "list(m['Mounts'][0].values())") ==
          "['volume', 'html', '" + host_.data("html") +
              "', '/usr/share/nginx/html', 'local', '', True, '']");
    CHECK(value_of(inspected, "len(m['Mounts'][1]['Name'])") == "64");
    CHECK(value_of(inspected, "m['VolumeMode']['Mode']") == mode_);
    umount("web");
    // It is in use no more; the next one finds what was there and fills nothing.
    CHECK_DONE(mount("web2", {"-v", "html:/usr/share/nginx/html"}), "");
    CHECK(content(in("web2", "usr/share/nginx/html/index.html")) == "new");
    umount("web2");
  }

  // 13: "Read-only file system", and the data stays.
  void read_only_means_read_only() {
    CHECK_DONE(mount("reader", {"-v", host_("www") + ":/www:ro"}), "");
    const Ran ran = run({"rm", "-f", in("reader", "www/mine.html")});
    CHECK(ran.exit_code == 1);
    CHECK(ran.err.find("Read-only file system") != std::string::npos);
    CHECK(joined({call::create(in("reader", "www/x")), content(host_("www/mine.html"))}) ==
          "EROFS m");
    umount("reader");
  }

  // 15: files as volumes; who replaces the inode is told.
  void single_files() {
    make(host_("files"), {file("history", "ls\n"), file("catalina.sh", "tuned")});
    CHECK_DONE(mount("shell", {"-v", host_("files/history") + ":/root/.bash_history", "-v",
                               host_("files/catalina.sh") + ":/bin/catalina.sh:ro"}),
               "");
    CHECK(call::append(in("shell", "root/.bash_history"), "cd\n") == "ok");
    CHECK(content(host_("files/history")) == "ls\ncd\n");
    CHECK(content(in("shell", "bin/catalina.sh")) == "tuned");
    CHECK(call::create(in("shell", "bin/new"), "x") == "ok");
    CHECK(call::rename(in("shell", "bin/new"), in("shell", "root/.bash_history")) == "EBUSY");
    CHECK(call::append(in("shell", "bin/catalina.sh"), "#") == "EROFS");
    umount("shell");
  }

  // 8, 16: one volume in several mounts, at different places.
  void several_mounts_on_one_volume() {
    CHECK_DONE(mount("one", {"-v", "shared:/data"}), "");
    CHECK_DONE(mount("two", {"-v", "shared:/hehe"}), "");
    CHECK(call::create(in("one", "data/log"), "1\n") == "ok");
    CHECK(content(in("two", "hehe/log")) == "1\n");
    CHECK(call::append(in("two", "hehe/log"), "2\n") == "ok");
    CHECK(joined({content(in("one", "data/log")), content(host_.data("shared") + "/log")}) ==
          "1\n2\n 1\n2\n");
    CHECK(host_.plyfs({"volume", "rm", "-f", "shared"}).err.find("in use by one at ") !=
          std::string::npos);
    umount("one");
    umount("two");
  }

  // 18, 19: neither the end of a mount nor the removal of its record takes a named volume away.
  void data_outlives_its_mounts() {
    CHECK_DONE(host_.plyfs({"rm", "-v", "one", "two"}), "one\ntwo\n");
    CHECK(content(host_.data("shared") + "/log") == "1\n2\n");
  }

  // 21, 22: taken over from others, in turn, read-only, also from what does not run; copies.
  void volumes_are_taken_over() {
    CHECK_DONE(mount("wm1", {"-v", "shared:/data", "-v", host_("www") + ":/www"}), "");
    umount("wm1");
    CHECK_DONE(mount("wm2", {"--volumes-from", "wm1"}), "");
    CHECK_DONE(mount("wm3", {"--volumes-from", "wm2:ro", "--volumes-from", "web"}), "");
    CHECK(joined({content(in("wm3", "data/log")), content(in("wm3", "www/mine.html")),
                  content(in("wm3", "usr/share/nginx/html/index.html"))}) == "1\n2\n m new");
    CHECK(call::create(in("wm3", "data/x")) == "EROFS");
    CHECK_DONE(host_.plyfs({"rm", "wm1"}), "wm1\n");
    CHECK(call::append(in("wm2", "data/log"), "3\n") == "ok");
    CHECK(host_.mount("wm4", {"--volumes-from", "wm1"}).exit_code == 32);
    umount("wm2");
    umount("wm3");
  }

  // 23, 24: tar cvf /backup/backup.tar /dbdata, and back elsewhere.
  void a_backup_and_its_way_to_another_machine() {
    make(host_("backup"), {});
    CHECK_DONE(mount("saver", {"--volumes-from", "wm3", "-v", host_("backup") + ":/backup"}), "");
    CHECK_DONE(run({"tar", "cf", in("saver", "backup/backup.tar"), "-C", in("saver", "data"), "."}),
               "");
    umount("saver");
    CHECK(run({"tar", "tf", host_("backup/backup.tar")}).out == "./\n./log\n");
    CHECK_DONE(host_.plyfs({"volume", "export", "shared", "-o", host_("backup/shared.tar.zst")}),
               "");
    CHECK_DONE(host_.plyfs({"volume", "create", "restored"}), "restored\n");
    CHECK_DONE(host_.plyfs({"volume", "import", "restored", "-i", host_("backup/shared.tar.zst")}),
               "");
    CHECK_DONE(host_.plyfs({"volume", "create", "fromtar"}), "fromtar\n");
    CHECK_DONE(host_.plyfs({"volume", "import", "fromtar", "-i", host_("backup/backup.tar")}), "");
    CHECK(difference(full_dump(host_.data("shared")), full_dump(host_.data("restored"))).empty());
    CHECK(picture(host_.data("fromtar")) == Picture{"log=1\n2\n3\n"});
  }

  // 25, 27: commit takes the upper and no volume; the image goes on as it was.
  void the_upper_becomes_a_layer() {
    CHECK_DONE(mount("builder", {"-v", "shared:/data", "-v", host_("www") + ":/new/place"}), "");
    CHECK(call::create(in("builder", "etc/app.conf"), "a=1") == "ok");
    CHECK(call::create(in("builder", "data/in-volume"), "v") == "ok");
    CHECK(host_.plyfs({"commit", "builder", host_("layer")}).exit_code == 0);
    umount("builder");
    CHECK(picture(host_("layer")) == Picture{"etc/", "etc/app.conf=a=1"});
    CHECK_DONE(mount("next", {"--lower", host_("layer")}), "");
    CHECK(joined({content(in("next", "etc/app.conf")), content(in("next", "data/in-volume"))}) ==
          "a=1 <ENOENT>");
    umount("next");
  }

  // 26: the options are many and get forgotten: a file keeps them.
  void options_in_a_file() {
    CHECK_DONE(mount("kept", {"--volumes-from", "web", "-v", "shared:/log:ro", "--save",
                              host_("kept.toml")}),
               "");
    umount("kept");
    CHECK_DONE(host_.plyfs({"rm", "kept"}), "kept\n");
    CHECK_DONE(host_.plyfs({"mount", "--config", host_("kept.toml")}), "");
    CHECK(joined({content(in("kept", "usr/share/nginx/html/index.html")),
                  content(in("kept", "log/log")), call::create(in("kept", "log/x"))}) ==
          "new 1\n2\n3\n EROFS");
    CHECK(value_of(host_.plyfs({"inspect", "kept"}), "m['VolumeMode']['Mode']") == mode_);
    umount("kept");
  }

  // 19, 20: only explicit removal, and not while anybody needs it.
  void nothing_goes_away_by_itself() {
    CHECK(host_.plyfs({"volume", "rm", "shared"}).exit_code == 2);
    for (const char* name : {"web", "web2", "wm2", "wm3", "saver", "builder", "kept"}) {
      CHECK_DONE(host_.plyfs({"rm", "-v", name}), std::string{name} + "\n");
    }
    CHECK(host_.plyfs({"volume", "ls", "-q"}).out == "fromtar\nhtml\nrestored\nshared\n");
    CHECK_DONE(host_.plyfs({"volume", "rm", "html", "shared"}), "html\nshared\n");
    CHECK(host_.plyfs({"volume", "prune", "-f", "--all"}).exit_code == 0);
    CHECK(host_.plyfs({"volume", "ls", "-q"}).out.empty());
    CHECK(content(host_("logs/tomcat/access.log")) == "GET /\nrotated\n");
  }

  const std::string mode_;
  Host host_;
};

TEST_CASE("the tutorial on data volumes, with plyfs commands", "[tutorial][store][volume]") {
  if (!can_mount()) {
    return;
  }
  std::vector<std::string> modes = {"fuse"};
  if (is_root()) {
    modes.emplace_back("bind");
  }
  for (const std::string& mode : modes) {
    DYNAMIC_SECTION("volume_mode=" + mode) { Story{mode}.tell(); }
  }
}

/// The first block of shell commands below a heading of a page of the manual.
std::string commands_of(const std::string& page, const std::string& heading) {
  const std::string readme = PLYFS_README;  // the manual lies below the same directory
  std::ifstream in(readme.substr(0, readme.rfind('/')) + "/src/docs/" + page);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::size_t begin = text.find("```sh\n", text.find("\n## " + heading + "\n"));
  return begin == std::string::npos
             ? ""
             : text.substr(begin + 6, text.find("```", begin + 6) - begin - 6);
}

TEST_CASE("the commands of the manual's walk-throughs do what it says",
          "[tutorial][store][volume]") {
  if (!can_mount()) {
    return;
  }
  Host host({file("var/lib/app/data", "1"), file("srv/www/index", "image"), file("etc/app.conf")});
  for (const char* name : {"up", "up2", "merged", "merged2", "site"}) {
    make(host(name), {});
  }
  make(host(""), {file("app.conf", "a=1"), file("patch/etc/new", "n")});
  const std::string program = plyfs_program();
  const std::string prepare = "export PATH=" + program.substr(0, program.rfind('/')) +
                              ":$PATH PLYFS_HOME=" + host("home") + "\ncd " + host("") + "\n";
  const Ran volumes = run({"bash", "-c", prepare + commands_of("volumes.md", "A walk-through")});
  const std::string err = volumes.err;
  CHECK(std::count(err.begin(), err.end(), '\n') == 1);
  CHECK(err.starts_with(
      "plyfs: cannot remove volume: data: Device or resource busy; it is in use by"));
  CHECK(volumes.out.ends_with("\nDRIVER    VOLUME NAME\nlocal     data\ndata\n"));
  CHECK(names_in(host("home/volumes")).empty());
  CHECK(names_in(host("home/mounts")).empty());
  const Ran files = run({"bash", "-c",
                         prepare + "plyfs() { command plyfs \"$@\" || exit; }\n" +
                             commands_of("mounting.md", "Options in a file") + "plyfs ls -q"});
  CHECK(said(files) == "0 web\nweb2\n");
  CHECK(joined({content(host("merged2/etc/new")), content(host("merged2/var/lib/app/data"))}) ==
        "n 1");
  CHECK(said(run({"bash", "-c", prepare + "plyfs umount web2; plyfs umount web"})) == "0 ");
}

}  // namespace
}  // namespace plyfs::tests
