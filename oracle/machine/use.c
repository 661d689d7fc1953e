// SPDX-License-Identifier: GPL-2.0-only
/*
 * Uses the memory of a virtual machine in many ways, and writes down what its /proc says.
 *
 *   use SEED KIND=MIB ...   take memory of each kind piece by piece, in an order that the seed decides, give some of it
 *                           back, say "ready" and hold the rest for ever
 *   use collect FILE ...    copy these files of /proc to /out/proc, one right after the other
 *
 * Linked statically: it runs in an initramfs. The kinds stand in the table at the end.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096UL
#define HUGE_PAGE (2UL << 20)
#define MAX_PIECES 20000
/* Pages that a pipe holds: its default size. */
#define PIPE_PAGES 16

static void die(const char *what)
{
	perror(what);
	printf("USE FAILED %s\n", what);
	fflush(stdout);
	exit(1);
}

static uint64_t seed;

static uint64_t below(uint64_t bound)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % bound;
}

struct piece {
	char *at;
	unsigned long bytes;
	int kind, number;
};

static struct piece pieces[MAX_PIECES];
static int nr_pieces;

static char scratch[1 << 20];

static char *map(unsigned long bytes, int flags)
{
	char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (at == MAP_FAILED)
		die("mmap");
	return at;
}

static void touch(char *at, unsigned long bytes)
{
	unsigned long i;

	for (i = 0; i < bytes; i += PAGE)
		at[i] = (char)below(256) | 1;
}

/* ---- what each kind does with a piece of memory; bytes are whole pages ---- */

static void take_anon(struct piece *p)
{
	p->at = map(p->bytes, 0);
	madvise(p->at, p->bytes, MADV_NOHUGEPAGE);
	touch(p->at, p->bytes);
}

static void take_mlock(struct piece *p)
{
	take_anon(p);
	if (mlock(p->at, p->bytes))
		die("mlock");
}

static void take_thp(struct piece *p)
{
	char *at;

	p->bytes = (p->bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	at = map(p->bytes + HUGE_PAGE, 0);
	p->at = (char *)(((unsigned long)at + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	madvise(p->at, p->bytes, MADV_HUGEPAGE);
	touch(p->at, p->bytes);
}

static void take_hugetlb(struct piece *p)
{
	p->bytes = HUGE_PAGE;
	p->at = mmap(NULL, p->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p->at == MAP_FAILED)
		p->at = NULL;	/* the pool is as large as it came */
	else
		touch(p->at, p->bytes);
}

static void file_name(char *name, const struct piece *p, const char *folder)
{
	sprintf(name, "%s/f%d", folder, p->number);
}

static int write_file(const struct piece *p, const char *folder)
{
	unsigned long done;
	char name[64];
	int fd;

	file_name(name, p, folder);
	fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0600);
	if (fd < 0)
		die(name);
	for (done = 0; done < p->bytes;) {
		unsigned long part = p->bytes - done < sizeof(scratch) ? p->bytes - done : sizeof(scratch);
		ssize_t wrote = write(fd, scratch, part);

		if (wrote <= 0)
			die(name);
		done += wrote;
	}
	return fd;
}

static void take_tmpfs(struct piece *p)
{
	close(write_file(p, "/tmp"));
}

static void take_dirty(struct piece *p)
{
	close(write_file(p, "/disk"));
}

static void take_file(struct piece *p)
{
	int fd = write_file(p, "/disk");

	fsync(fd);
	close(fd);
}

/* Written back, and mapped by this process. */
static void take_mapped(struct piece *p)
{
	volatile char sum = 0;
	unsigned long i;
	int fd = write_file(p, "/disk");

	fsync(fd);
	p->at = mmap(NULL, p->bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (p->at == MAP_FAILED)
		die("mmap of a file");
	for (i = 0; i < p->bytes; i += PAGE)
		sum += p->at[i];
	close(fd);
}

static void give_file(struct piece *p, const char *folder)
{
	char name[64];

	file_name(name, p, folder);
	unlink(name);
}

static void give_tmpfs(struct piece *p)
{
	give_file(p, "/tmp");
}

static void give_disk(struct piece *p)
{
	if (p->at)
		munmap(p->at, p->bytes);
	give_file(p, "/disk");
}

/* A registered buffer of io_uring: pinned for long (FOLL_LONGTERM), counted in vmstat. */
static void take_pin(struct piece *p)
{
	struct io_uring_params params = { 0 };
	struct iovec vector;

	take_anon(p);
	vector = (struct iovec){ p->at, p->bytes };
	p->number = syscall(SYS_io_uring_setup, 1, &params);
	if (p->number < 0)
		die("io_uring_setup");
	if (syscall(SYS_io_uring_register, p->number, IORING_REGISTER_BUFFERS, &vector, 1))
		die("io_uring_register");
}

static void give_pin(struct piece *p)
{
	close(p->number);
	munmap(p->at, p->bytes);
}

/* Pages in a pipe: a plain reference beyond the mapping's, counted nowhere. */
static void take_vmsplice(struct piece *p)
{
	unsigned long done;
	int ends[2];

	take_anon(p);
	for (done = 0; done < p->bytes; done += PIPE_PAGES * PAGE) {
		unsigned long part = p->bytes - done < PIPE_PAGES * PAGE ? p->bytes - done : PIPE_PAGES * PAGE;
		struct iovec vector = { p->at + done, part };

		if (pipe(ends) || vmsplice(ends[1], &vector, 1, SPLICE_F_NONBLOCK) < 0)
			die("vmsplice");
	}
}

/* Buffers of pipes: kernel pages that nothing names. */
static void take_pipe(struct piece *p)
{
	unsigned long done;
	int ends[2];

	for (done = 0; done < p->bytes; done += PIPE_PAGES * PAGE) {
		if (pipe2(ends, O_NONBLOCK) || write(ends[1], scratch, PIPE_PAGES * PAGE) < 0)
			die("pipe");
		p->number = ends[0];
	}
}

static void give_pipe(struct piece *p)
{
	/* of the last pipe only: what stays is torn, too */
	while (read(p->number, scratch, PIPE_PAGES * PAGE) > 0)
		;
}

/* Small files: inodes and dentries. About a KiB each. */
static void take_slab(struct piece *p)
{
	unsigned long i;
	char name[64];

	for (i = 0; i < p->bytes >> 10; i++) {
		sprintf(name, "/tmp/s%d.%lu", p->number, i);
		close(open(name, O_CREAT | O_WRONLY, 0600));
	}
}

static void give_slab(struct piece *p)
{
	unsigned long i;
	char name[64];

	for (i = 0; i < p->bytes >> 10; i++)
		if (below(2)) {
			sprintf(name, "/tmp/s%d.%lu", p->number, i);
			unlink(name);
		}
}

/* Processes: stacks, page tables, task structures. About 64 KiB each. */
static void take_procs(struct piece *p)
{
	unsigned long i;

	for (i = 0; i <= p->bytes >> 16; i++) {
		pid_t child = fork();

		if (child < 0)
			die("fork");
		if (!child)
			for (;;)
				pause();
	}
}

/* Some whole, and of others single pages. */
static void give_anon(struct piece *p)
{
	unsigned long i;

	if (!p->at)
		return;
	if (below(2)) {
		munmap(p->at, p->bytes);
		return;
	}
	for (i = 0; i < p->bytes; i += PAGE)
		if (below(3) == 0)
			madvise(p->at + i, PAGE, MADV_DONTNEED);
}

static void give_hugetlb(struct piece *p)
{
	if (p->at)
		munmap(p->at, p->bytes);
}

static void give_nothing(struct piece *p)
{
	(void)p;
}

struct kind {
	const char *name;
	unsigned long most_pages;	/* of a piece */
	void (*take)(struct piece *p);
	void (*give)(struct piece *p);
};

static const struct kind kinds[] = {
	{ "anon", 256, take_anon, give_anon },
	{ "mlock", 64, take_mlock, give_nothing },
	{ "thp", 2048, take_thp, give_anon },
	{ "hugetlb", 512, take_hugetlb, give_hugetlb },
	{ "hugekeep", 512, take_hugetlb, give_nothing },
	{ "tmpfs", 256, take_tmpfs, give_tmpfs },
	{ "file", 256, take_file, give_disk },
	{ "mapped", 128, take_mapped, give_disk },
	{ "dirty", 64, take_dirty, give_nothing },
	{ "pin", 16, take_pin, give_pin },
	{ "vmsplice", 16, take_vmsplice, give_nothing },
	{ "pipe", 64, take_pipe, give_pipe },
	{ "slab", 16, take_slab, give_slab },
	{ "procs", 64, take_procs, give_nothing },
};
#define NR_KINDS ((int)(sizeof(kinds) / sizeof(kinds[0])))

static int kind_named(const char *word)
{
	int i;

	for (i = 0; i < NR_KINDS; i++)
		if (!strncmp(word, kinds[i].name, strlen(kinds[i].name)) && word[strlen(kinds[i].name)] == '=')
			return i;
	return -1;
}

static void take_all(unsigned long left[NR_KINDS])
{
	for (;;) {
		unsigned long total = 0, at;
		struct piece *p = &pieces[nr_pieces];
		int kind;

		for (kind = 0; kind < NR_KINDS; kind++)
			total += left[kind];
		if (!total || nr_pieces == MAX_PIECES)
			return;
		/* what has most left comes most often */
		at = below(total);
		for (kind = 0; at >= left[kind]; kind++)
			at -= left[kind];
		*p = (struct piece){ .kind = kind, .number = nr_pieces };
		p->bytes = (below(kinds[kind].most_pages) + 1) * PAGE;
		kinds[kind].take(p);
		left[kind] -= p->bytes < left[kind] ? p->bytes : left[kind];
		nr_pieces++;
	}
}

static int use_memory(int nr_words, char **words)
{
	unsigned long left[NR_KINDS] = { 0 };
	int i, kind;

	seed = strtoull(words[0], NULL, 10) * 0x9e3779b97f4a7c15ULL + 1;
	for (i = 1; i < nr_words; i++) {
		kind = kind_named(words[i]);
		if (kind < 0) {
			printf("USE FAILED unknown kind: %s\n", words[i]);
			return 1;
		}
		left[kind] = strtoul(strchr(words[i], '=') + 1, NULL, 10) << 20;
	}
	for (i = 0; i < (int)sizeof(scratch); i++)
		scratch[i] = (char)below(256);
	take_all(left);
	for (i = 0; i < nr_pieces; i++)
		if (below(5) < 2)
			kinds[pieces[i].kind].give(&pieces[i]);
	printf("USE READY %d pieces\n", nr_pieces);
	fflush(stdout);
	close(open("/ready", O_CREAT | O_WRONLY, 0600));
	for (;;)
		pause();
}

/* Twice: the first time makes the room that the second writes to, so that the copying itself changes next to nothing. */
static int collect(int nr_files, char **files)
{
	char name[64];
	ssize_t got;
	int round, i;

	for (round = 0; round < 2; round++)
		for (i = 0; i < nr_files; i++) {
			int in, out;

			sprintf(name, "/proc/%s", files[i]);
			in = open(name, O_RDONLY);
			sprintf(name, "/out/proc/%s", files[i]);
			out = open(name, O_CREAT | O_WRONLY, 0600);
			if (in < 0 || out < 0)
				die(name);
			while ((got = read(in, scratch, sizeof(scratch))) > 0)
				if (write(out, scratch, got) != got)
					die(name);
			if (ftruncate(out, lseek(out, 0, SEEK_CUR)))
				die(name);
			close(in);
			close(out);
		}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "collect"))
		return collect(argc - 2, argv + 2);
	if (argc > 1)
		return use_memory(argc - 1, argv + 1);
	return 1;
}
