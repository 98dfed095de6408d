// Locks that clang's thread-safety analysis understands (std::mutex carries no annotations).
#pragma once

#include <mutex>
#include <shared_mutex>

#if defined(__clang__)
#define PLYFS_ATTRIBUTE(x) __attribute__((x))
#else
#define PLYFS_ATTRIBUTE(x)
#endif
#define CAPABILITY(x) PLYFS_ATTRIBUTE(capability(x))
#define SCOPED_CAPABILITY PLYFS_ATTRIBUTE(scoped_lockable)
#define GUARDED_BY(x) PLYFS_ATTRIBUTE(guarded_by(x))
#define REQUIRES(...) PLYFS_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) PLYFS_ATTRIBUTE(requires_shared_capability(__VA_ARGS__))
#define ACQUIRE(...) PLYFS_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define ACQUIRE_SHARED(...) PLYFS_ATTRIBUTE(acquire_shared_capability(__VA_ARGS__))
#define RELEASE(...) PLYFS_ATTRIBUTE(release_capability(__VA_ARGS__))
#define RELEASE_GENERIC(...) PLYFS_ATTRIBUTE(release_generic_capability(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS PLYFS_ATTRIBUTE(no_thread_safety_analysis)

namespace plyfs {

class CAPABILITY("mutex") Mutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class CAPABILITY("mutex") SharedMutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }
  void lock_shared() ACQUIRE_SHARED() { mutex_.lock_shared(); }
  void unlock_shared() RELEASE_GENERIC() { mutex_.unlock_shared(); }

 private:
  std::shared_mutex mutex_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

class SCOPED_CAPABILITY SharedLock {
 public:
  explicit SharedLock(SharedMutex& mutex) ACQUIRE_SHARED(mutex) : mutex_(mutex) {
    mutex_.lock_shared();
  }
  ~SharedLock() RELEASE() { mutex_.unlock_shared(); }
  SharedLock(const SharedLock&) = delete;
  SharedLock& operator=(const SharedLock&) = delete;

 private:
  SharedMutex& mutex_;
};

class SCOPED_CAPABILITY ExclusiveLock {
 public:
  explicit ExclusiveLock(SharedMutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~ExclusiveLock() RELEASE() { mutex_.unlock(); }
  ExclusiveLock(const ExclusiveLock&) = delete;
  ExclusiveLock& operator=(const ExclusiveLock&) = delete;

 private:
  SharedMutex& mutex_;
};

}  // namespace plyfs
