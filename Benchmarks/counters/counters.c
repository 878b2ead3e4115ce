// Counts what a process asks of the C library while it runs: allocations, bytes that are copied, calls of the kernel. Loaded in
// front of it (LD_PRELOAD), told to the harness through a file of counters that both map (MESH_COUNTERS). These numbers do
// not depend on how busy the machine is. What the compiler or the library does within itself is not seen here.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

// The order is the harness's, too (Counters.swift).
enum { ALLOCATIONS, ALLOCATED_BYTES, COPIED_BYTES, READS, WRITES, WAITS, WATCHES, OTHERS, COUNTERS };

static _Atomic uint64_t unmapped[COUNTERS];
static _Atomic uint64_t *counters = unmapped;

static void count(int which, uint64_t amount) { atomic_fetch_add_explicit(&counters[which], amount, memory_order_relaxed); }

__attribute__((constructor)) static void map_counters(void) {
    const char *path = getenv("MESH_COUNTERS");
    int file = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (file < 0 || ftruncate(file, sizeof(unmapped)) != 0) return;
    void *pages = mmap(NULL, sizeof(unmapped), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (pages != MAP_FAILED) counters = pages;
}

// Memory. The library's own names: asking the linker for the next one allocates.
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static void allocated(size_t size) {
    count(ALLOCATIONS, 1);
    count(ALLOCATED_BYTES, size);
}
void *malloc(size_t size) { allocated(size); return __libc_malloc(size); }
void *calloc(size_t items, size_t size) { allocated(items * size); return __libc_calloc(items, size); }
void *realloc(void *old, size_t size) { allocated(size); return __libc_realloc(old, size); }
void *aligned_alloc(size_t alignment, size_t size) { allocated(size); return __libc_memalign(alignment, size); }
int posix_memalign(void **result, size_t alignment, size_t size) {
    allocated(size);
    *result = __libc_memalign(alignment, size);
    return *result ? 0 : 12;
}

// Copies. Not by the library's function, which would be this one.
static void move_up(void *to, const void *from, size_t size) {
    __asm__ volatile(
#if defined(__x86_64__)
        "rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory"
#else
        "" : : : "memory"
#endif
    );
#if !defined(__x86_64__)
    volatile unsigned char *t = to;
    const volatile unsigned char *f = from;
    while (size--) *t++ = *f++;
#endif
}
void *memcpy(void *to, const void *from, size_t size) {
    count(COPIED_BYTES, size);
    move_up(to, from, size);
    return to;
}
void *memmove(void *to, const void *from, size_t size) {
    count(COPIED_BYTES, size);
    if ((uintptr_t)to - (uintptr_t)from >= size) {
        move_up(to, from, size);
    } else {
        volatile unsigned char *t = to;
        const volatile unsigned char *f = from;
        while (size--) t[size] = f[size];
    }
    return to;
}

// Calls of the kernel.
#define PASSED(counter, type, name, parameters, ...)                      \
    type name parameters {                                                \
        static type(*_Atomic next) parameters;                            \
        if (!next) next = (type(*) parameters)dlsym(RTLD_NEXT, #name);    \
        count(counter, 1);                                                \
        return next(__VA_ARGS__);                                         \
    }
PASSED(READS, ssize_t, read, (int f, void *b, size_t n), f, b, n)
PASSED(READS, ssize_t, readv, (int f, const struct iovec *v, int n), f, v, n)
PASSED(READS, ssize_t, recv, (int f, void *b, size_t n, int g), f, b, n, g)
PASSED(READS, ssize_t, recvmsg, (int f, struct msghdr *m, int g), f, m, g)
PASSED(READS, ssize_t, pread, (int f, void *b, size_t n, off_t o), f, b, n, o)
PASSED(READS, ssize_t, pread64, (int f, void *b, size_t n, off64_t o), f, b, n, o)
PASSED(WRITES, ssize_t, write, (int f, const void *b, size_t n), f, b, n)
PASSED(WRITES, ssize_t, writev, (int f, const struct iovec *v, int n), f, v, n)
PASSED(WRITES, ssize_t, send, (int f, const void *b, size_t n, int g), f, b, n, g)
PASSED(WRITES, ssize_t, sendmsg, (int f, const struct msghdr *m, int g), f, m, g)
PASSED(WRITES, ssize_t, pwrite, (int f, const void *b, size_t n, off_t o), f, b, n, o)
PASSED(WRITES, ssize_t, pwrite64, (int f, const void *b, size_t n, off64_t o), f, b, n, o)
PASSED(WAITS, int, epoll_wait, (int f, struct epoll_event *e, int n, int t), f, e, n, t)
PASSED(WATCHES, int, epoll_ctl, (int f, int o, int g, struct epoll_event *e), f, o, g, e)
PASSED(OTHERS, int, timerfd_settime, (int f, int g, const struct itimerspec *n, struct itimerspec *o), f, g, n, o)
PASSED(OTHERS, int, eventfd_write, (int f, eventfd_t v), f, v)
PASSED(OTHERS, int, eventfd_read, (int f, eventfd_t *v), f, v)
PASSED(OTHERS, int, fsync, (int f), f)
PASSED(OTHERS, int, fdatasync, (int f), f)
