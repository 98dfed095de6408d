// READ, WRITE, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse/flusher.h"
#include "fuse/raw_request.h"
#include "fuse/serve.h"
#include "mirror.h"
#include "sys/file_io.h"

namespace plyfs::mirror {
namespace {

sys::BorrowedFd borrow(const File& file) { return sys::BorrowedFd{file.get()}; }

Result<File> file_of(fuse_req_t request, fuse_ino_t id, Slot slot) {
  Mirror& mirror = mirror_of(request);
  const Shared names{mirror.names};
  return open_data(mirror, node_of(request, id), slot);
}

void on_read(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
             fuse_file_info* /*file*/) {
  serve(request, [&]() -> Status {
    const File file = TRY(file_of(request, id, Slot::kRead));
    char* const buffer = fuse::reply_buffer(size);
    // A short answer is the end of the file to the kernel.
    const std::size_t got = TRY(sys::read_at(borrow(file), buffer, size, offset));
    (void)fuse_reply_buf(request, buffer, got);
    return {};
  });
}

/// What comes from the page cache moves neither the mtime, which the kernel keeps and sends, nor
/// bits that were set since: the mtime is put back later.
void on_write(fuse_req_t request, fuse_ino_t id, const char* data, std::size_t size, off_t offset,
              fuse_file_info* /*info*/) {
  serve(request, [&]() -> Status {
    Node& node = node_of(request, id);
    const File file = TRY(file_of(request, id, Slot::kReadWrite));
    TRY(sys::write_all_at(borrow(file), data, size, offset));
    if (fuse::raw_request().from_page_cache) {
      mirror_of(request).nodes.note_write(node);
      if (const mode_t mode = node.mode; (mode & (S_ISUID | S_ISGID)) != 0) {
        TRY(called(::fchmod(file.get(), mode & ~static_cast<mode_t>(S_IFMT))));
      }
    }
    (void)fuse_reply_write(request, size);
    return {};
  });
}

void on_fsync(fuse_req_t request, fuse_ino_t id, int data_only, fuse_file_info* /*info*/) {
  serve(request, [&]() -> Status {
    const File file = TRY(file_of(request, id, Slot::kRead));
    TRY(settle_mtime(mirror_of(request), node_of(request, id)));
    TRY(called(data_only != 0 ? ::fdatasync(file.get()) : ::fsync(file.get())));
    (void)fuse_reply_err(request, 0);
    return {};
  });
}

void on_fsyncdir(fuse_req_t request, fuse_ino_t id, int data_only, fuse_file_info* /*info*/) {
  serve(request, [&]() -> Status {
    int directory = -1;
    {
      const Shared names{mirror_of(request).names};
      directory = TRY(directory_of(mirror_of(request), node_of(request, id)));
    }
    TRY(called(data_only != 0 ? ::fdatasync(directory) : ::fsync(directory)));
    (void)fuse_reply_err(request, 0);
    return {};
  });
}

void on_fallocate(fuse_req_t request, fuse_ino_t id, int mode, off_t offset, off_t length,
                  fuse_file_info* /*info*/) {
  serve(request, [&]() -> Status {
    const File file = TRY(file_of(request, id, Slot::kReadWrite));
    TRY(sys::allocate(borrow(file), mode, offset, length));
    mirror_of(request).nodes.note_write(node_of(request, id));
    (void)fuse_reply_err(request, 0);
    return {};
  });
}

void on_copy_file_range(fuse_req_t request, fuse_ino_t from, off_t from_offset,
                        fuse_file_info* /*from_info*/, fuse_ino_t to, off_t to_offset,
                        fuse_file_info* /*to_info*/, std::size_t size, int /*flags*/) {
  serve(request, [&]() -> Status {
    const File source = TRY(file_of(request, from, Slot::kRead));
    const File target = TRY(file_of(request, to, Slot::kReadWrite));
    const std::size_t copied =
        TRY(sys::copy_range(borrow(source), from_offset, borrow(target), to_offset, size));
    mirror_of(request).nodes.note_write(node_of(request, to));
    (void)fuse_reply_write(request, copied);
    return {};
  });
}

/// Where data is, only the kernel's dirty pages may know: they are written back first.
void on_lseek(fuse_req_t request, fuse_ino_t id, off_t offset, int whence,
              fuse_file_info* /*info*/) {
  serve(request, [&]() -> Status {
    mirror_of(request).flusher->after_writeback(id, [=] {
      serve(request, [&]() -> Status {
        const File file = TRY(file_of(request, id, Slot::kRead));
        (void)fuse_reply_lseek(request, TRY(sys::seek(borrow(file), offset, whence)));
        return {};
      });
    });
    return {};
  });
}

}  // namespace

void add_data_verbs(fuse_lowlevel_ops& table) {
  table.read = on_read;
  table.write = on_write;
  table.fsync = on_fsync;
  table.fsyncdir = on_fsyncdir;
  table.fallocate = on_fallocate;
  table.copy_file_range = on_copy_file_range;
  table.lseek = on_lseek;
}

}  // namespace plyfs::mirror
