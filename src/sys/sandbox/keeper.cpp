#include "sys/sandbox/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace plyfs::sys::sandbox {
namespace {

void tell_failure(const Link& front, const std::string& what, int error) {
  front.say(Word::kFailed, kSetupFailed, what + ": " + std::strerror(error));
}

/// A new terminal, of which the caller, leading a session, is in charge. The other end is told.
UniqueFd open_terminal(const Program& program, const Link& front) {
  const UniqueFd master{::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)};
  int unlock = 0;
  if (!master.valid() || ::ioctl(master.borrow().get(), TIOCSPTLCK, &unlock) != 0) {
    return UniqueFd{};
  }
  // Not by its name: /dev is the image's to change.
  UniqueFd terminal{::ioctl(master.borrow().get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)};
  (void)::setsid();
  if (!terminal.valid() || ::ioctl(terminal.borrow().get(), TIOCSCTTY, 0) != 0) {
    return UniqueFd{};
  }
  (void)::fchown(terminal.borrow().get(), program.account.uid, static_cast<gid_t>(-1));
  front.say(Word::kTerminal, 0, {}, master.borrow());
  return terminal;
}

sigset_t all_signals() {
  sigset_t all;
  ::sigfillset(&all);
  return all;
}

/// The child's pid, or -1 after telling why not.
pid_t start(const Program& program, const UniqueFd& terminal, const Link& front) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    tell_failure(front, "cannot start the command", errno);
    return -1;
  }
  const UniqueFd read_end{ends[0]};
  UniqueFd write_end{ends[1]};
  const pid_t child = ::fork();
  if (child < 0) {
    tell_failure(front, "cannot start the command", errno);
    return -1;
  }
  if (child == 0) {
    become(program, terminal.borrow(), write_end.borrow());
  }
  if (program.terminal != Terminal::kShared) {
    (void)::setpgid(child, child);  // as it does itself: whoever is first
  }
  write_end.reset();
  char text[600] = {};
  ssize_t got = 0;
  while ((got = ::read(read_end.borrow().get(), text, sizeof text - 1)) < 0 && errno == EINTR) {
  }
  if (got <= 0) {
    return child;
  }
  // Nobody else may: a process outside of the pid namespace, to whom it would be left, keeps that
  // from ending.
  (void)::waitpid(child, nullptr, 0);
  int code = kSetupFailed;
  const char* const end = std::from_chars(text, text + got, code).ptr;
  front.say(Word::kFailed, code, *end == ' ' ? end + 1 : end);
  return -1;
}

/// Reaps whoever ended. False when it was the program.
bool reap(pid_t program, const Link& front) {
  int status = 0;
  for (pid_t ended = 0; (ended = ::waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0;) {
    if (ended != program) {
      continue;
    }
    if (WIFSTOPPED(status)) {
      front.say(Word::kStopped, WSTOPSIG(status));
      continue;
    }
    front.say(Word::kEnded, status);
    return false;
  }
  return true;
}

/// False when nobody is there any more.
bool listen(pid_t child, const Program& program, const Link& front) {
  const Message heard = front.hear();
  if (heard.word == Word::kSignal) {
    (void)::kill(child, heard.value);
  } else if (heard.word == Word::kContinue) {
    (void)::kill(program.terminal == Terminal::kShared ? child : -child, SIGCONT);
  }
  return heard.word != Word::kEnd;
}

}  // namespace

void keep(const Program& program, const Link& front) {
  const sigset_t all = all_signals();
  (void)::sigprocmask(SIG_SETMASK, &all, nullptr);
  const UniqueFd signals{::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK)};
  UniqueFd terminal;
  if (program.terminal == Terminal::kOwn) {
    terminal = open_terminal(program, front);
    if (!terminal.valid()) {
      tell_failure(front, "cannot make a terminal: /dev/ptmx", errno);
      return;
    }
  }
  const pid_t child = start(program, terminal, front);
  if (child < 0) {
    return;
  }
  terminal.reset();
  front.say(Word::kStarted, child);
  for (;;) {
    pollfd asked[2] = {{front.borrow().get(), POLLIN, 0}, {signals.borrow().get(), POLLIN, 0}};
    (void)::poll(asked, 2, -1);
    signalfd_siginfo caught{};
    while (asked[1].revents != 0 &&
           ::read(signals.borrow().get(), &caught, sizeof caught) == sizeof caught) {
      const int signal = static_cast<int>(caught.ssi_signo);
      // What the kernel sends to a group has reached the program as well.
      if (signal != SIGCHLD && caught.ssi_code <= SI_USER) {
        (void)::kill(child, signal);
      }
    }
    if (!reap(child, front)) {
      return;
    }
    if (asked[0].revents != 0 && !listen(child, program, front)) {
      (void)::kill(child, SIGKILL);
      (void)::waitpid(child, nullptr, 0);
      return;
    }
  }
}

}  // namespace plyfs::sys::sandbox
