#include "sys/sandbox/link.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace plyfs::sys::sandbox {
namespace {

constexpr std::size_t kMostText = 4000;

struct Head {
  std::uint32_t word;
  std::int32_t value;
};

}  // namespace

Result<std::pair<Link, Link>> Link::make() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return Errno{errno};
  }
  std::pair<Link, Link> links;
  links.first.socket_ = UniqueFd{ends[0]};
  links.second.socket_ = UniqueFd{ends[1]};
  return links;
}

void Link::say(Word word, std::int32_t value, const std::string& text,
               BorrowedFd descriptor) const {
  Head head{static_cast<std::uint32_t>(word), value};
  iovec parts[2] = {{&head, sizeof head},
                    {const_cast<char*>(text.data()), std::min(text.size(), kMostText)}};
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  if (descriptor.valid()) {
    message.msg_control = room;
    message.msg_controllen = sizeof room;
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = descriptor.get();
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  while (::sendmsg(socket_.borrow().get(), &message, MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

Message Link::hear() const {
  Head head{};
  char text[kMostText];
  iovec parts[2] = {{&head, sizeof head}, {text, sizeof text}};
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  message.msg_control = room;
  message.msg_controllen = sizeof room;
  ssize_t got = 0;
  while ((got = ::recvmsg(socket_.borrow().get(), &message, MSG_CMSG_CLOEXEC)) < 0 &&
         errno == EINTR) {
  }
  Message heard;
  for (const cmsghdr* header = CMSG_FIRSTHDR(&message); got >= 0 && header != nullptr;
       header = CMSG_NXTHDR(&message, const_cast<cmsghdr*>(header))) {
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
      heard.descriptor = UniqueFd{fd};
    }
  }
  if (got >= static_cast<ssize_t>(sizeof head)) {
    heard.word = static_cast<Word>(head.word);
    heard.value = head.value;
    heard.text.assign(text, static_cast<std::size_t>(got) - sizeof head);
  }
  return heard;
}

bool Link::ended() const {
  pollfd asked{socket_.borrow().get(), 0, 0};
  return ::poll(&asked, 1, 0) > 0 && (asked.revents & (POLLHUP | POLLERR)) != 0;
}

}  // namespace plyfs::sys::sandbox
