#include "sys/sandbox/front.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace plyfs::sys::sandbox {
namespace {

constexpr int kKilled = 128 + SIGKILL;
constexpr int kQuiet_ms = 100;
constexpr char kEndOfFile = 4;  // Ctrl-D

bool same_terminal(int a, int b) {
  struct stat first {};
  struct stat second {};
  return ::isatty(a) == 1 && ::isatty(b) == 1 && ::fstat(a, &first) == 0 &&
         ::fstat(b, &second) == 0 && first.st_rdev == second.st_rdev;
}

sigset_t passed_on(Terminal terminal) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH}) {
    ::sigaddset(&set, signal);
  }
  if (terminal != Terminal::kShared) {
    ::sigaddset(&set, SIGTTOU);  // we take the terminal back from behind
  }
  return set;
}

void write_all(int fd, const char* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t written = ::write(fd, bytes, size);
    if (written < 0 && errno == EAGAIN) {
      pollfd wait{fd, POLLOUT, 0};
      (void)::poll(&wait, 1, -1);
    } else if (written < 0 && errno != EINTR) {
      return;
    } else if (written > 0) {
      bytes += written;
      size -= static_cast<std::size_t>(written);
    }
  }
}

}  // namespace

Terminal usual_terminal() {
  const bool one = same_terminal(0, 1) && same_terminal(0, 2);
  return one && ::tcgetpgrp(0) == ::getpgrp() ? Terminal::kForeground : Terminal::kShared;
}

Front::Front(Link link, Terminal terminal, std::optional<int> stop_signal)
    : link_(std::move(link)), terminal_(terminal), stop_signal_(stop_signal) {
  static_assert(sizeof(termios) <= sizeof modes_);
  const sigset_t set = passed_on(terminal);
  (void)::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = UniqueFd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
}

Front::~Front() {
  make_raw(false);
  if (terminal_ == Terminal::kForeground && started_) {
    (void)::tcsetpgrp(0, ::getpgrp());
  }
}

void Front::make_raw(bool raw) {
  if (terminal_ != Terminal::kOwn || raw == raw_ || ::isatty(0) != 1) {
    return;
  }
  termios modes{};
  if (raw) {
    if (::tcgetattr(0, &modes) != 0) {
      return;
    }
    std::memcpy(modes_, &modes, sizeof modes);
    ::cfmakeraw(&modes);
  } else {
    std::memcpy(&modes, modes_, sizeof modes);
  }
  raw_ = ::tcsetattr(0, TCSADRAIN, &modes) == 0 ? raw : raw_;
}

void Front::resize() {
  winsize size{};
  if (master_.valid() &&
      (::ioctl(0, TIOCGWINSZ, &size) == 0 || ::ioctl(1, TIOCGWINSZ, &size) == 0)) {
    (void)::ioctl(master_.borrow().get(), TIOCSWINSZ, &size);
  }
}

void Front::take_terminal(UniqueFd master) {
  master_ = std::move(master);
  (void)::fcntl(master_.borrow().get(), F_SETFL, O_RDWR | O_NONBLOCK);
  resize();
  make_raw(true);
}

/// The program was stopped from its terminal: so are we, for the shell that waits for us.
void Front::pause_with_program() {
  if (terminal_ == Terminal::kShared) {
    return;  // the terminal stops us as well
  }
  const pid_t in_front = terminal_ == Terminal::kForeground ? ::tcgetpgrp(0) : -1;
  make_raw(false);
  if (terminal_ == Terminal::kForeground) {
    (void)::tcsetpgrp(0, ::getpgrp());
  }
  (void)::raise(SIGTSTP);
  const bool front_again = ::tcgetpgrp(0) == ::getpgrp();
  if (in_front > 0 && front_again) {
    (void)::tcsetpgrp(0, in_front);
  }
  if (front_again) {
    make_raw(true);
  }
  resize();
  link_.say(Word::kContinue);
}

void Front::take_signals() {
  signalfd_siginfo caught{};
  while (::read(signals_.borrow().get(), &caught, sizeof caught) == sizeof caught) {
    const int signal = static_cast<int>(caught.ssi_signo);
    if (signal == SIGWINCH && terminal_ == Terminal::kOwn) {
      resize();
    } else if (signal != SIGTTOU &&
               (terminal_ != Terminal::kShared || caught.ssi_code <= SI_USER)) {
      // In a shared group the terminal's own signals have reached the program already.
      link_.say(Word::kSignal, signal == SIGTERM ? stop_signal_.value_or(SIGTERM) : signal);
    }
  }
}

void Front::hear(void (*warn)(const std::string&)) {
  Message heard = link_.hear();
  switch (heard.word) {
    case Word::kEnd:
      ended_ = true;
      return;
    case Word::kFailed:
      if (!told_) {
        ending_ = {heard.value, heard.text};
      }
      told_ = true;
      return;
    case Word::kWarning:
      warn(heard.text);
      return;
    case Word::kStarted:
      started_ = true;
      return;
    case Word::kTerminal:
      take_terminal(std::move(heard.descriptor));
      return;
    case Word::kStopped:
      pause_with_program();
      return;
    case Word::kEnded:
      ending_.exit_code =
          WIFSIGNALED(heard.value) ? 128 + WTERMSIG(heard.value) : WEXITSTATUS(heard.value);
      told_ = true;
      return;
    default:
      return;
  }
}

void Front::relay_input() {
  char bytes[4096];
  const ssize_t got = ::read(0, bytes, sizeof bytes);
  if (got > 0) {
    pending_.assign(bytes, static_cast<std::size_t>(got));
  } else if (got == 0 || errno != EINTR) {
    input_open_ = false;
    pending_.assign(1, kEndOfFile);
  }
}

bool Front::relay_output() {
  char bytes[16384];
  const ssize_t got = ::read(master_.borrow().get(), bytes, sizeof bytes);
  if (got > 0) {
    write_all(1, bytes, static_cast<std::size_t>(got));
    return true;
  }
  return got < 0 && (errno == EAGAIN || errno == EINTR);
}

/// What the program wrote last. Others may have the terminal open still, so it need not end.
void Front::drain_output() {
  pollfd asked{master_.borrow().get(), POLLIN, 0};
  while (master_.valid() && ::poll(&asked, 1, kQuiet_ms) > 0 && relay_output()) {
  }
  master_.reset();
}

Front::Ending Front::attend(void (*warn)(const std::string&)) {
  while (!ended_) {
    pollfd asked[4] = {{link_.borrow().get(), POLLIN, 0},
                       {signals_.borrow().get(), POLLIN, 0},
                       {-1, POLLIN, 0},
                       {-1, POLLIN, 0}};
    if (master_.valid()) {
      asked[2].fd = input_open_ && pending_.empty() ? 0 : -1;
      asked[3].fd = master_.borrow().get();
      asked[3].events = static_cast<short>(POLLIN | (pending_.empty() ? 0 : POLLOUT));
    }
    if (::poll(asked, 4, -1) < 0) {
      continue;
    }
    if (asked[1].revents != 0) {
      take_signals();
    }
    if (asked[2].revents != 0) {
      relay_input();
    }
    if ((asked[3].revents & POLLOUT) != 0 && !pending_.empty()) {
      const ssize_t written = ::write(master_.borrow().get(), pending_.data(), pending_.size());
      pending_.erase(0, written > 0 ? static_cast<std::size_t>(written) : 0);
    }
    if ((asked[3].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !relay_output()) {
      master_.reset();
    }
    if (asked[0].revents != 0) {
      hear(warn);
      if (told_ && master_.valid()) {
        drain_output();
        make_raw(false);
      }
    }
  }
  drain_output();
  if (!told_) {
    ending_ = started_ ? Ending{kKilled, {}}
                       : Ending{125, "the run ended before the command was started"};
  }
  return ending_;
}

}  // namespace plyfs::sys::sandbox
