// SPDX-License-Identifier: GPL-2.0-only
// Holds pages for oracle/core.py: pins some by an io_uring's buffers (FOLL_PIN), puts some into a pipe (a reference each),
// and says which: "KIND pfn" a line, in the file of the first argument. Then it waits for ever.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096UL
#define HUGE (2UL << 20)

static void must(int good, const char *what)
{
	if (!good) {
		perror(what);
		exit(1);
	}
}

static unsigned long pfn_of(const char *page)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	must(pread(fd, &entry, 8, (uintptr_t)page / PAGE * 8) == 8, "pagemap");
	close(fd);
	return entry & ((1UL << 55) - 1);
}

static char *map(size_t size, int flags, int fd)
{
	char *found = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	must(found != MAP_FAILED, "mmap");
	return found;
}

int main(int argc, char **argv)
{
	struct io_uring_params params = { 0 };
	struct iovec pinned[4], piped;
	int pipes[2], ring, file;
	char *anon, *huge, *thp, *shared;
	FILE *told;

	must(argc == 2, "name a file to tell the pages in");
	anon = map(16 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	madvise(anon, 16 * PAGE, MADV_NOHUGEPAGE);
	memset(anon, 1, 16 * PAGE);
	huge = map(HUGE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	memset(huge, 2, HUGE);
	thp = map(2 * HUGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	thp = (char *)(((uintptr_t)thp + HUGE - 1) & ~(HUGE - 1));
	madvise(thp, HUGE, MADV_HUGEPAGE);
	memset(thp, 3, HUGE);
	file = open("/tmp/shared", O_RDWR | O_CREAT, 0600);
	must(ftruncate(file, 4 * PAGE) == 0, "ftruncate");
	shared = map(4 * PAGE, MAP_SHARED, file);
	memset(shared, 4, 4 * PAGE);

	ring = syscall(SYS_io_uring_setup, 4, &params);
	must(ring >= 0, "io_uring_setup");
	pinned[0] = (struct iovec){ anon, 2 * PAGE };
	pinned[1] = (struct iovec){ huge + PAGE, PAGE };
	pinned[2] = (struct iovec){ thp + PAGE, PAGE };
	pinned[3] = (struct iovec){ shared, PAGE };
	must(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, pinned, 4) == 0, "io_uring_register");
	must(pipe(pipes) == 0, "pipe");
	piped = (struct iovec){ anon + 8 * PAGE, PAGE };
	must(vmsplice(pipes[1], &piped, 1, 0) == (ssize_t)PAGE, "vmsplice");

	told = fopen(argv[1], "w");
	must(told != NULL, argv[1]);
	fprintf(told, "pinned %lu\npinned %lu\n", pfn_of(anon), pfn_of(anon + PAGE));
	fprintf(told, "pinned-hugetlb %lu\npinned-thp %lu\n", pfn_of(huge), pfn_of(thp));
	fprintf(told, "pinned-file %lu\npiped %lu\n", pfn_of(shared), pfn_of(anon + 8 * PAGE));
	fprintf(told, "mapped %lu\n", pfn_of(anon + 4 * PAGE));
	fclose(told);
	for (;;)
		pause();
}
