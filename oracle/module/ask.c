// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel answers for every range of a machine in use. "N" written to /proc/oracle asks alloc_contig_range() for
 * each aligned range of N pages, one after another, each given back. A range with huge pages of a pool is passed over
 * (line "R"), as they change places with others of the pool: "N@PFN" asks for one range alone. "dump" writes down the state
 * of every zone.
 */
#include <linux/hugetlb.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/proc_fs.h>
#include <linux/utsname.h>
#include <linux/vmstat.h>

#include "compat.h"
#include "oracle.h"

static bool choose_zone(int node, int index)
{
	zone = &NODE_DATA(node)->node_zones[index];
	if (!populated_zone(zone))
		return false;
	nid = node;
	zone_start = zone->zone_start_pfn;
	zone_end = zone_end_pfn(zone);
	return true;
}

unsigned long largest_span(void)
{
	unsigned long span = 0;
	int node, i;

	for_each_online_node(node)
		for (i = 0; i < MAX_NR_ZONES; i++)
			if (choose_zone(node, i))
				span = max(span, zone_end - zone_start);
	return span;
}

static unsigned long event(int item)
{
	unsigned long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += per_cpu(vm_event_states, cpu).event[item];
	return sum;
}

static bool whole_in_zone(unsigned long start, unsigned long end)
{
	unsigned long pfn;

	for (pfn = start; pfn < end; pfn++) {
		struct page *page = pfn_to_online_page(pfn);

		if (!page || page_zone(page) != zone)
			return false;
	}
	return true;
}

static bool holds_huge_page(unsigned long start, unsigned long end)
{
	unsigned long pfn;

	for (pfn = start; pfn < end; pfn++)
		if (PageHuge(pfn_to_page(pfn)))
			return true;
	return false;
}

static void ask_range(unsigned long start, unsigned long nr_pages, bool alone)
{
	unsigned long moved = event(PGMIGRATE_SUCCESS), failed = event(PGMIGRATE_FAIL);
	bool whole = whole_in_zone(start, start + nr_pages);
	int rc;

	if (whole && !alone && holds_huge_page(start, start + nr_pages)) {
		say("R %lu %lu %d %s\n", nr_pages, start, nid, zone->name);
		return;
	}
	say("G %lu %lu %d %s", nr_pages, start, nid, zone->name);
	if (!whole) {
		say(" hole\n");
		return;
	}
	rc = contig(start, start + nr_pages);
	say(" %d mig=%lu fail=%lu", rc, event(PGMIGRATE_SUCCESS) - moved, event(PGMIGRATE_FAIL) - failed);
	if (rc)
		say_page_why();
	else
		free_contig_range(start, nr_pages);
	say("\n");
	cond_resched();
}

/* @only: the one range to ask for; ~0: every one */
static void ask_zones(unsigned long nr_pages, unsigned long only)
{
	unsigned long start;
	int node, i;

	for_each_online_node(node)
		for (i = 0; i < MAX_NR_ZONES; i++) {
			if (!choose_zone(node, i))
				continue;
			for (start = ALIGN(zone_start, nr_pages); start + nr_pages <= zone_end; start += nr_pages)
				if (only == ~0UL || start == only)
					ask_range(start, nr_pages, start == only);
		}
}

static void dump_zones(void)
{
	int node, i;

	for_each_online_node(node)
		for (i = 0; i < MAX_NR_ZONES; i++)
			if (choose_zone(node, i))
				dump_state("snapshot", false);
}

static ssize_t ask_write(struct file *file, const char __user *user, size_t count, loff_t *pos)
{
	unsigned long nr_pages, only = ~0UL;
	char word[40], *at;

	if (count >= sizeof(word) || copy_from_user(word, user, count))
		return -EINVAL;
	word[count] = 0;
	say("V oracle 2 kernel=%s mode=truth\n", init_utsname()->release);
	if (sysfs_streq(word, "dump"))
		dump_zones();
	at = strchr(word, '@');
	if (at) {
		*at = 0;
		if (kstrtoul(at + 1, 10, &only))
			return -EINVAL;
	}
	if (!kstrtoul(word, 10, &nr_pages) && nr_pages && !(nr_pages & (nr_pages - 1)))
		ask_zones(nr_pages, only);
	return record_full ? -ENOSPC : count;
}

static ssize_t ask_read(struct file *file, char __user *user, size_t count, loff_t *pos)
{
	return simple_read_from_buffer(user, count, pos, record, record_len);
}

static const struct proc_ops ask_ops = {
	.proc_read = ask_read,
	.proc_write = ask_write,
	.proc_lseek = default_llseek,
};

int ask_init(void)
{
	int rc = watch_contig();

	if (rc)
		return rc;
	return proc_create("oracle", 0644, NULL, &ask_ops) ? 0 : -ENOMEM;
}
