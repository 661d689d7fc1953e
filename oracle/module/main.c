// SPDX-License-Identifier: GPL-2.0-only
/*
 * oracle: drives the kernel's own page allocator on one NUMA node from a list of requests and
 * records what it did, request by request. The record is read from /proc/oracle.
 *
 * The text that it writes is trace format 2, described in docs/oracle.md. Every PFN in it is
 * relative to the start of the zone, unless it follows a '!'.
 *
 * The module is loaded once in a virtual machine that is switched off afterwards: it keeps what it
 * allocated and cannot be unloaded.
 */
#include <linux/bitmap.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/utsname.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "oracle.h"

int nid = 1;
module_param(nid, int, 0444);
MODULE_PARM_DESC(nid, "node whose ZONE_NORMAL is recorded");
bool pcp;
module_param(pcp, bool, 0444);
MODULE_PARM_DESC(pcp, "leave the per-cpu lists on");
int stat_threshold;
module_param(stat_threshold, int, 0444);
MODULE_PARM_DESC(stat_threshold, "pages that the CPU holds back of each zone counter");
static bool ask;
module_param(ask, bool, 0444);
MODULE_PARM_DESC(ask, "answer what is written to /proc/oracle, about all zones, instead of a list of requests");
static char *input = "";
module_param(input, charp, 0444);
MODULE_PARM_DESC(input, "file of requests");
static char *note = "";
module_param(note, charp, 0444);
MODULE_PARM_DESC(note, "more words for the version line, commas become spaces");
static int log_mib = 96;
module_param(log_mib, int, 0444);
MODULE_PARM_DESC(log_mib, "room for the record, MiB");

struct zone *zone;
unsigned long zone_start, zone_end;

/* ---- the list of requests ---- */

static char *read_input(size_t *len)
{
	struct file *file = filp_open(input, O_RDONLY, 0);
	loff_t pos = 0;
	ssize_t got = 0;
	size_t size;
	char *text;

	if (IS_ERR(file))
		return NULL;
	size = i_size_read(file_inode(file));
	text = vzalloc_node(size + 1, 0);
	*len = 0;
	while (text && *len < size) {
		got = kernel_read(file, text + *len, size - *len, &pos);
		if (got <= 0)
			break;
		*len += got;
	}
	filp_close(file, NULL);
	if (got < 0) {
		vfree(text);
		return NULL;
	}
	return text;
}

static char *number(char *s, unsigned long *value)
{
	*value = 0;
	while (*s == ' ')
		s++;
	while (*s >= '0' && *s <= '9')
		*value = *value * 10 + (*s++ - '0');
	return s;
}

struct totals {
	unsigned long nr_ops;
	u64 ns_in_allocator;
};

/* "a HANDLE ORDER KIND" */
static bool op_alloc(char *s, struct totals *totals)
{
	unsigned long h, order;
	struct page *page;
	char kind;
	u64 t;

	s = number(number(s, &h), &order);
	while (*s == ' ')
		s++;
	kind = *s;
	if (h >= MAX_HANDLES || order >= NR_ORDERS || handles[h].kind) {
		say("! bad a %lu\n", h);
		return false;
	}
	t = ktime_get_ns();
	page = request_pages(h, order, kind);
	totals->ns_in_allocator += ktime_get_ns() - t;
	say("a");
	say_number(' ', h);
	say_number(' ', order);
	say(page ? " %c" : " %c -", kind);
	if (page)
		say_pfn(' ', page_to_pfn(page));
	say("\n");
	return true;
}

/* "f HANDLE", "g HANDLE" */
static bool op_free(char op, char *s, struct totals *totals)
{
	unsigned long h;
	u64 t;

	number(s, &h);
	say("%c", op);
	say_number(' ', h);
	if (h >= MAX_HANDLES || !handles[h].kind) {
		say(" -\n");
		return true;
	}
	say("\n");
	t = ktime_get_ns();
	release_pages_of(h);
	totals->ns_in_allocator += ktime_get_ns() - t;
	return true;
}

/* "c HANDLE START COUNT", "x HANDLE START COUNT" (x: may reach past the zone's end) */
static bool op_contig(char op, char *s, struct totals *totals)
{
	unsigned long h, start, count;
	int rc;
	u64 t;

	number(number(number(s, &h), &start), &count);
	if (h >= MAX_HANDLES || handles[h].kind ||
	    (op == 'c' && zone_start + start + count > zone_end)) {
		say("! bad c %lu\n", h);
		return false;
	}
	say("%c", op);
	say_number(' ', h);
	say_number(' ', start);
	say_number(' ', count);
	say(" :");
	t = ktime_get_ns();
	rc = contig(zone_start + start, zone_start + start + count);
	t = ktime_get_ns() - t;
	totals->ns_in_allocator += t;
	say(" = %d t=%llu", rc, t);
	if (rc) {
		say_why();
	} else {
		handles[h] = (struct handle){
			.pfn = zone_start + start, .nr_pages = count, .kind = 'C',
		};
		own(zone_start + start, count);
	}
	say("\n");
	return true;
}

/* "s START COUNT", "u START COUNT": isolation by itself, and its end, of whole pageblocks */
static bool op_isolation(char op, char *s, struct totals *totals)
{
	unsigned long start, count;
	int rc = 0;
	u64 t;

	number(number(s, &start), &count);
	if (!count || !range_in_zone(zone_start + start, count) ||
	    !IS_ALIGNED(zone_start + start, pageblock_nr_pages) ||
	    !IS_ALIGNED(count, pageblock_nr_pages)) {
		say("! bad %c\n", op);
		return false;
	}
	t = ktime_get_ns();
	if (op == 's')
		rc = isolate(zone_start + start, zone_start + start + count);
	else
		unisolate(zone_start + start, zone_start + start + count);
	totals->ns_in_allocator += ktime_get_ns() - t;
	say(op == 's' ? "S" : "U");
	say_number(' ', start);
	say_number(' ', count);
	if (op == 's')
		say(" = %d", rc);
	say("\n");
	return true;
}

/* "k" */
static bool op_compact(struct totals *totals)
{
	int rc;
	u64 t;

	say("K :");
	t = ktime_get_ns();
	rc = compact_recorded_node();
	t = ktime_get_ns() - t;
	totals->ns_in_allocator += t;
	say(" = %d t=%llu\n", rc, t);
	return true;
}

static void run(char *text, size_t len)
{
	struct totals totals = {};
	u64 begin = ktime_get_ns();
	char *line, *end;

	dump_state("initial", false);
	say_hash(0);
	for (line = text; line < text + len; line = end + 1) {
		end = strchrnul(line, '\n');
		switch (*line) {
		case 'a':
			totals.nr_ops += op_alloc(line + 1, &totals);
			break;
		case 'f':
		case 'g':
			totals.nr_ops += op_free(*line, line + 1, &totals);
			break;
		case 'c':
		case 'x':
			totals.nr_ops += op_contig(*line, line + 1, &totals);
			break;
		case 's':
		case 'u':
			totals.nr_ops += op_isolation(*line, line + 1, &totals);
			break;
		case 'k':
			totals.nr_ops += op_compact(&totals);
			break;
		case 'h':
			say_hash(totals.nr_ops);
			cond_resched();
			break;
		case 'd':
			dump_state("mid", false);
			break;
		}
	}
	say_hash(totals.nr_ops);
	dump_state("final", true);
	say("E ops=%lu ns_total=%llu ns_in_allocator=%llu migrated=%lu overflow=%d\n", totals.nr_ops,
	    ktime_get_ns() - begin, totals.ns_in_allocator, nr_migrated, record_full);
}

/* ---- the module ---- */

static ssize_t record_read(struct file *file, char __user *user, size_t count, loff_t *pos)
{
	return simple_read_from_buffer(user, count, pos, record, record_len);
}

static const struct proc_ops record_ops = {
	.proc_read = record_read,
	.proc_lseek = default_llseek,
};

/* All of the recorder's own memory comes from node 0: it must not disturb what it records. */
static bool reserve_room(unsigned long span)
{
	record_max = (size_t)log_mib << 20;
	record = vzalloc_node(record_max, 0);
	handles = vzalloc_node((ask ? 1 : MAX_HANDLES) * sizeof(*handles), 0);
	owned = vzalloc_node(BITS_TO_LONGS(span) * sizeof(long), 0);
	return record && handles && owned;
}

static int __init oracle_init(void)
{
	unsigned long span;
	size_t len;
	char *text;
	int why, rc;

	if (ask) {
		span = largest_span();
	} else {
		if (!node_online(nid))
			return -ENODEV;
		zone = &NODE_DATA(nid)->node_zones[ZONE_NORMAL];
		if (!populated_zone(zone))
			return -ENODEV;
		zone_start = zone->zone_start_pfn;
		zone_end = zone_end_pfn(zone);
		span = zone_end - zone_start;
	}
	runner = current;
	if (!reserve_room(span))
		return -ENOMEM;	/* the machine is switched off next */
	rc = state_init(span);
	if (rc)
		return rc;
	if (ask)
		return ask_init();
	text = read_input(&len);
	if (!text)
		return -ENOENT;
	strreplace(note, ',', ' ');
	why = watch_contig();
	say("V oracle 2 kernel=%s mode=trace pcp=%d why=%d %s\n", init_utsname()->release, pcp, why,
	    note);
	quiesce();
	run(text, len);
	vfree(text);
	return proc_create("oracle", 0444, NULL, &record_ops) ? 0 : -ENOMEM;
}
module_init(oracle_init);

MODULE_DESCRIPTION("Records what the page allocator does with a list of requests");
MODULE_LICENSE("GPL");
