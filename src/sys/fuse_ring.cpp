#include "sys/fuse_ring.h"

#include <liburing.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <mutex>
#include <string>
#include <utility>

#include "base/log.h"

namespace plyfs::sys {
namespace {

// From linux/fuse.h of Linux 6.14; Debian 12 has an older one.
constexpr std::size_t kInOutBytes = 128;
constexpr std::size_t kOperationBytes = 128;

struct EntryInOut {
  std::uint64_t flags;
  std::uint64_t commit_id;
  std::uint32_t payload_bytes;
  std::uint32_t padding;
  std::uint64_t reserved;
};

struct RequestHeader {
  char in_out[kInOutBytes];
  char operation[kOperationBytes];
  EntryInOut entry;
};

enum : std::uint32_t { kRegister = 1, kCommitAndFetch = 2 };

struct Command {
  std::uint64_t flags;
  std::uint64_t commit_id;
  std::uint16_t queue;
  std::uint8_t padding[6];
};

constexpr unsigned kSubmissions = 16;
constexpr std::size_t kPageBytes = 4096;

RequestHeader& header_at(char* memory) { return *reinterpret_cast<RequestHeader*>(memory); }

/// "0-3,5" as numbers.
std::vector<unsigned> processors_in(const char* file) {
  std::vector<unsigned> numbers;
  std::ifstream stream{file};
  unsigned first = 0;
  while (stream >> first) {
    unsigned last = first;
    if (stream.peek() == '-') {
      stream.get();
      stream >> last;
    }
    for (unsigned number = first; number <= last; ++number) {
      numbers.push_back(number);
    }
    if (stream.peek() == ',') {
      stream.get();
    }
  }
  return numbers;
}

}  // namespace

unsigned possible_processors() {
  const std::vector<unsigned> possible = processors_in("/sys/devices/system/cpu/possible");
  return possible.empty() ? static_cast<unsigned>(::get_nprocs_conf()) : possible.back() + 1;
}

std::vector<unsigned> online_processors() {
  std::vector<unsigned> online = processors_in("/sys/devices/system/cpu/online");
  if (online.empty()) {
    for (unsigned i = 0; i < static_cast<unsigned>(::get_nprocs()); ++i) {
      online.push_back(i);
    }
  }
  return online;
}

void FuseRing::Slot::Unmap::operator()(char* memory) const { (void)::munmap(memory, bytes); }

struct FuseRing::Impl {
  io_uring ring{};
  std::size_t payload_bytes = 0;
  BorrowedFd device{-1};
  UniqueFd event;  ///< signalled when another thread has answered
  bool watched = false;
  std::vector<std::unique_ptr<Slot>> slots;
  std::mutex mu;
  std::vector<Slot*> answered;  ///< by other threads; guarded by mu

  Impl() { ring.ring_fd = -1; }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (ring.ring_fd >= 0) {
      io_uring_queue_exit(&ring);
    }
  }

  io_uring_sqe* next_submission() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring);
    if (entry == nullptr) {
      (void)io_uring_submit(&ring);
      entry = io_uring_get_sqe(&ring);
    }
    return entry;
  }

  Status prepare(Slot& slot, std::uint32_t operation);
  Status watch_event();
  Status take_answered();
  Result<Slot*> take(const io_uring_cqe& completion);
};

Status FuseRing::Impl::prepare(Slot& slot, std::uint32_t operation) {
  io_uring_sqe* const entry = next_submission();
  if (entry == nullptr) {
    return Errno{EBUSY};
  }
  // Submissions have 128 bytes; the command takes the last 80 of them.
  std::memset(entry, 0, 128);
  entry->opcode = IORING_OP_URING_CMD;
  entry->fd = device.get();
  entry->cmd_op = operation;
  if (operation == kRegister) {
    entry->addr = reinterpret_cast<std::uint64_t>(slot.buffers_);
    entry->len = 2;
  }
  Command command{};
  command.commit_id = slot.commit_id_;
  command.queue = static_cast<std::uint16_t>(slot.queue_);
  std::memcpy(entry->cmd, &command, sizeof command);
  io_uring_sqe_set_data(entry, &slot);
  return {};
}

Status FuseRing::Impl::watch_event() {
  io_uring_sqe* const entry = next_submission();
  if (entry == nullptr) {
    return Errno{EBUSY};
  }
  std::memset(entry, 0, 128);
  io_uring_prep_poll_add(entry, event.borrow().get(), POLLIN);
  io_uring_sqe_set_data(entry, nullptr);
  return {};
}

Status FuseRing::Impl::take_answered() {
  std::uint64_t count = 0;
  (void)!::read(event.borrow().get(), &count, sizeof count);
  std::vector<Slot*> ready;
  {
    const std::lock_guard lock{mu};
    ready.swap(answered);
  }
  for (Slot* const slot : ready) {
    TRY(prepare(*slot, kCommitAndFetch));
  }
  return watch_event();
}

Result<FuseRing::Slot*> FuseRing::Impl::take(const io_uring_cqe& completion) {
  auto* const slot = static_cast<Slot*>(io_uring_cqe_get_data(&completion));
  if (slot == nullptr) {
    TRY(take_answered());
    return static_cast<Slot*>(nullptr);
  }
  if (completion.res == -EAGAIN || completion.res == -EINTR) {
    TRY(prepare(*slot, slot->commit_id_ == 0 ? kRegister : kCommitAndFetch));
    return static_cast<Slot*>(nullptr);
  }
  if (completion.res == -ENOTCONN || completion.res == -ECONNABORTED) {
    return Errno{ENOTCONN};
  }
  if (completion.res < 0 && slot->commit_id_ == 0) {
    return Errno{-completion.res};
  }
  if (completion.res < 0) {
    // The kernel refused that reply. Whatever became of its caller, others are to be served.
    log::write(log::Level::kError,
               "io_uring: a reply was refused: " + Errno{-completion.res}.message());
    slot->commit_id_ = 0;
    TRY(prepare(*slot, kRegister));
    return static_cast<Slot*>(nullptr);
  }
  const RequestHeader& header = header_at(slot->header_);
  slot->commit_id_ = header.entry.commit_id;
  fuse_in_header in{};
  std::memcpy(&in, header.in_out, sizeof in);
  // The three parts in one piece: what is not payload goes before it.
  if (in.len < sizeof in + header.entry.payload_bytes ||
      header.entry.payload_bytes > slot->payload_bytes_) {
    return Errno{EPROTO};
  }
  const std::size_t operation = in.len - sizeof in - header.entry.payload_bytes;
  if (operation > kOperationBytes) {
    return Errno{EPROTO};
  }
  slot->message_ = slot->payload_ - operation - sizeof in;
  slot->size_ = in.len;
  std::memcpy(slot->message_, &in, sizeof in);
  std::memcpy(slot->message_ + sizeof in, header.operation, operation);
  return slot;
}

FuseRing::FuseRing(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FuseRing::~FuseRing() = default;

Result<std::unique_ptr<FuseRing>> FuseRing::make(std::size_t payload_bytes) {
  auto impl = std::make_unique<Impl>();
  impl->payload_bytes = payload_bytes;
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_SQE128 | IORING_SETUP_SUBMIT_ALL;
  const int made = io_uring_queue_init_params(kSubmissions, &impl->ring, &parameters);
  if (made < 0) {
    impl->ring.ring_fd = -1;
    return Errno{-made};
  }
  impl->event = UniqueFd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!impl->event.valid()) {
    return Errno{errno};
  }
  return std::unique_ptr<FuseRing>{new FuseRing{std::move(impl)}};
}

Status FuseRing::lend_slot(BorrowedFd device, unsigned queue) {
  impl_->device = device;
  if (!impl_->watched) {
    TRY(impl_->watch_event());
    impl_->watched = true;
  }
  auto slot = std::make_unique<Slot>();
  // A page for the header, one whose end takes the fixed part of messages, and the payload.
  const std::size_t bytes = 2 * kPageBytes + impl_->payload_bytes;
  void* const memory =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return Errno{errno};
  }
  slot->memory_ = {static_cast<char*>(memory), Slot::Unmap{bytes}};
  slot->header_ = slot->memory_.get();
  slot->payload_ = slot->header_ + 2 * kPageBytes;
  slot->payload_bytes_ = impl_->payload_bytes;
  slot->queue_ = queue;
  slot->buffers_[0] = {slot->header_, sizeof(RequestHeader)};
  slot->buffers_[1] = {slot->payload_, slot->payload_bytes_};
  TRY(impl_->prepare(*slot, kRegister));
  impl_->slots.push_back(std::move(slot));
  return {};
}

Status FuseRing::hand_over() {
  const int submitted = io_uring_submit(&impl_->ring);
  if (submitted < 0) {
    return Errno{-submitted};
  }
  // A refusal is there at once; a request stays where it is.
  io_uring_cqe* completion = nullptr;
  if (io_uring_peek_cqe(&impl_->ring, &completion) == 0 && completion->res < 0 &&
      completion->res != -EAGAIN && completion->res != -EINTR) {
    return Errno{-completion->res};
  }
  return {};
}

Result<FuseRing::Slot*> FuseRing::wait() {
  io_uring* const ring = &impl_->ring;
  const int submitted = io_uring_submit_and_wait(ring, 1);
  if (submitted < 0 && submitted != -EINTR && submitted != -EAGAIN && submitted != -EBUSY) {
    return Errno{-submitted};
  }
  io_uring_cqe* completion = nullptr;
  if (io_uring_peek_cqe(ring, &completion) != 0) {
    return static_cast<Slot*>(nullptr);
  }
  auto taken = impl_->take(*completion);
  io_uring_cqe_seen(ring, completion);
  return taken;
}

long FuseRing::reply(Slot& slot, const iovec* parts, int count, bool by_the_rings_thread) {
  RequestHeader& header = header_at(slot.header_);
  std::size_t bytes = 0;
  bool fits = true;
  for (int i = 1; i < count && fits; ++i) {
    fits = parts[i].iov_len <= slot.payload_bytes_ - bytes;
    if (fits) {
      // Who read straight into the payload has it there already.
      if (parts[i].iov_base != slot.payload_ + bytes) {
        std::memmove(slot.payload_ + bytes, parts[i].iov_base, parts[i].iov_len);
      }
      bytes += parts[i].iov_len;
    }
  }
  fuse_out_header out{};
  std::memcpy(&out, parts[0].iov_base, sizeof out);
  if (!fits) {
    out.error = -EIO;
    bytes = 0;
  }
  out.len = static_cast<std::uint32_t>(sizeof out + bytes);
  std::memcpy(header.in_out, &out, sizeof out);
  header.entry.payload_bytes = static_cast<std::uint32_t>(bytes);
  if (by_the_rings_thread) {
    (void)impl_->prepare(slot, kCommitAndFetch);
  } else {
    {
      const std::lock_guard lock{impl_->mu};
      impl_->answered.push_back(&slot);
    }
    const std::uint64_t one = 1;
    (void)!::write(impl_->event.borrow().get(), &one, sizeof one);
  }
  return out.len;
}

}  // namespace plyfs::sys
