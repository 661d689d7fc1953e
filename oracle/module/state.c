// SPDX-License-Identifier: GPL-2.0-only
/* The state of the zone: its hash, its dump, and its quiet start. */
#include <linux/bitmap.h>
#include <linux/kprobes.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/pageblock-flags.h>
#include <linux/utsname.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "oracle.h"

/* Functions that are not exported. */
static unsigned long (*get_pageblock_flags)(const struct page *, unsigned long, unsigned long);
static void (*drain_pages)(struct zone *);
static int (*start_isolate)(unsigned long, unsigned long, int, int, gfp_t);
static void (*undo_isolate)(unsigned long, unsigned long, int);
/*
 * mm/vmstat.c: each second they fold counters, drain the per-cpu lists of a remote node in the
 * third round and, since the lists tune themselves (6.7), shrink them in every round.
 */
static struct delayed_work *shepherd;
static struct delayed_work __percpu *vmstat_work;

static void *symbol(const char *name)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long (*lookup)(const char *);

	if (register_kprobe(&probe) < 0)
		return NULL;
	lookup = (void *)probe.addr;
	unregister_kprobe(&probe);
	return (void *)lookup(name);
}

static unsigned long *on_pcp;	/* one bit for each page of the zone, or of the largest one */

/* Find what is not exported, and make room; an error means that this kernel cannot be recorded. */
int state_init(unsigned long span)
{
	get_pageblock_flags = symbol("get_pfnblock_flags_mask");
	drain_pages = symbol("drain_all_pages");
	start_isolate = symbol("start_isolate_page_range");
	undo_isolate = symbol("undo_isolate_page_range");
	shepherd = symbol("shepherd");
	vmstat_work = (struct delayed_work __percpu *)symbol("vmstat_work");
	if (!get_pageblock_flags || !drain_pages || !start_isolate || !undo_isolate || !shepherd ||
	    !vmstat_work)
		return -ENOSYS;
	on_pcp = vzalloc_node(BITS_TO_LONGS(span) * sizeof(long), 0);
	return on_pcp ? 0 : -ENOMEM;
}

/* As alloc_contig_range() calls them; the arguments are those of 5.19 to 6.16. */
int isolate(unsigned long start, unsigned long end)
{
	return start_isolate(start, end, MIGRATE_MOVABLE, 0, GFP_KERNEL | __GFP_NOWARN);
}

void unisolate(unsigned long start, unsigned long end)
{
	undo_isolate(start, end, MIGRATE_MOVABLE);
}

static int pageblock_type(unsigned long pfn)
{
	struct page *page = pfn_to_online_page(pfn);

	return page ? get_pageblock_flags(page, pfn, MIGRATETYPE_MASK) : HOLE_TYPE;
}

static int pcp_list_order(int pindex)
{
	int order = pindex / MIGRATE_PCPTYPES;

	return order > PAGE_ALLOC_COSTLY_ORDER ? pageblock_order : order;
}

static void find_pcp_pages(void)
{
	struct page *page;
	int cpu, i;

	bitmap_zero(on_pcp, zone_end - zone_start);
	for_each_possible_cpu(cpu) {
		struct per_cpu_pages *lists = per_cpu_ptr(zone->per_cpu_pageset, cpu);

		for (i = 0; i < NR_PCP_LISTS; i++)
			list_for_each_entry(page, &lists->lists[i], pcp_list)
				bitmap_set(on_pcp, page_to_pfn(page) - zone_start,
					   1UL << pcp_list_order(i));
	}
}

char page_class(struct page *page)
{
	if (PageReserved(page))
		return 'R';
	if (PageSlab(page))
		return 'S';
	if (PageTable(page))
		return 'T';
	if (PageLRU(page))
		return 'L';
	if (__PageMovable(page))
		return 'M';
	if (PageTail(page))
		return 't';
	return page_ref_count(page) ? 'O' : '0';
}

static void say_foreign_run(unsigned long start, unsigned long nr_pages, char class)
{
	if (nr_pages)
		say("X %lu %lu %c\n", start - zone_start, nr_pages, class);
}

/* Counts, and lists if @list, the pages that are neither free nor owned by a request. */
static unsigned long foreign_pages(bool list)
{
	unsigned long pfn, total = 0, run_start = 0, run = 0;
	char run_class = 0;

	for (pfn = zone_start; pfn < zone_end; pfn++) {
		struct page *page = pfn_to_online_page(pfn);
		char class;

		if (!page)
			continue;
		if (PageBuddy(page)) {
			pfn += (1UL << page_private(page)) - 1;
			continue;
		}
		if (test_bit(pfn - zone_start, owned) || test_bit(pfn - zone_start, on_pcp))
			continue;
		total++;
		if (!list)
			continue;
		class = page_class(page);
		if (class != run_class || run_start + run != pfn) {
			say_foreign_run(run_start, run, run_class);
			run_start = pfn;
			run = 0;
			run_class = class;
		}
		run++;
	}
	say_foreign_run(run_start, run, run_class);
	return total;
}

#define FNV_START 0xcbf29ce484222325ULL

static u64 fnv(u64 hash, u64 word)
{
	return (hash ^ word) * 0x100000001b3ULL;
}

static unsigned long first_pageblock(void)
{
	return ALIGN_DOWN(zone_start, pageblock_nr_pages);
}

void say_hash(unsigned long nr_ops)
{
	struct per_cpu_pages *lists = per_cpu_ptr(zone->per_cpu_pageset, 0);
	u64 free_hash = FNV_START, type_hash = FNV_START, pcp_hash = FNV_START;
	unsigned long flags, pfn, foreign, nr_free = 0;
	struct page *page;
	int order, type, i;

	spin_lock_irqsave(&zone->lock, flags);
	for (order = 0; order < NR_ORDERS; order++)
		for (type = 0; type < MIGRATE_TYPES; type++)
			list_for_each_entry(page, &zone->free_area[order].free_list[type], buddy_list) {
				pfn = page_to_pfn(page) - zone_start;
				free_hash = fnv(free_hash, (u64)type << 56 | (u64)order << 48 | pfn);
				nr_free += 1UL << order;
			}
	for (pfn = first_pageblock(); pfn < zone_end; pfn += pageblock_nr_pages)
		type_hash = fnv(type_hash, pageblock_type(max(pfn, zone_start)));
	for (i = 0; i < NR_PCP_LISTS; i++)
		list_for_each_entry(page, &lists->lists[i], pcp_list)
			pcp_hash = fnv(pcp_hash, (u64)i << 48 | (page_to_pfn(page) - zone_start));
	find_pcp_pages();
	foreign = foreign_pages(false);
	spin_unlock_irqrestore(&zone->lock, flags);
	say("H %lu %016llx %016llx %016llx free=%lu stat=%lu pcp=%d own=%lu foreign=%lu\n", nr_ops,
	    free_hash, type_hash, pcp_hash, nr_free, zone_page_state(zone, NR_FREE_PAGES),
	    lists->count, nr_owned, foreign);
}

static void say_geometry(void)
{
	say("Z kernel=%s node=%d zone=%s start_pfn=%lu spanned=%lu present=%lu managed=%lu "
	    "max_order=%d pageblock_order=%d migratetypes=%d\n",
	    init_utsname()->release, nid, zone->name, zone_start, zone->spanned_pages,
	    zone->present_pages, atomic_long_read(&zone->managed_pages), NR_ORDERS,
	    (int)pageblock_order, MIGRATE_TYPES);
	say("W min=%lu low=%lu high=%lu boost=%lu lowmem_reserve=%ld highatomic=%lu nr_isolate=%lu "
	    "flags=%lx",
	    zone->_watermark[WMARK_MIN], zone->_watermark[WMARK_LOW], zone->_watermark[WMARK_HIGH],
	    zone->watermark_boost, zone->lowmem_reserve[ZONE_NORMAL], zone->nr_reserved_highatomic,
	    zone->nr_isolate_pageblock, zone->flags);
#if ZONE_COUNTS_FREE_HIGHATOMIC
	say(" free_highatomic=%lu", zone->nr_free_highatomic);
#endif
	say("\n");
}

static void say_pageblock_types(void)
{
	unsigned long pfn, run = 0;
	int type, run_type = -1;

	say("T");
	for (pfn = first_pageblock(); pfn < zone_end; pfn += pageblock_nr_pages) {
		type = pageblock_type(max(pfn, zone_start));
		if (type != run_type && run) {
			say(" %d:%lu", run_type, run);
			run = 0;
		}
		run_type = type;
		run++;
	}
	say(" %d:%lu\n", run_type, run);
}

static void say_page_list(const struct list_head *list)
{
	struct page *page;

	/* buddy_list and pcp_list are the same member of struct page */
	list_for_each_entry(page, list, buddy_list)
		say_number(' ', page_to_pfn(page) - zone_start);
	say("\n");
}

static void say_pcp(int cpu)
{
	struct per_cpu_pages *lists = per_cpu_ptr(zone->per_cpu_pageset, cpu);
	int i;

	say("Q cpu=%d count=%d high=%d batch=%d", cpu, lists->count, lists->high, lists->batch);
#if PCP_TUNES_ITSELF
	say(" high_min=%d high_max=%d free_count=%d alloc_factor=%d flags=%d", lists->high_min,
	    lists->high_max, lists->free_count, lists->alloc_factor, lists->flags);
#else
	say(" free_factor=%d", lists->free_factor);
#endif
	say(" expire=%d stat_threshold=%d\n", lists->expire,
	    per_cpu_ptr(zone->per_cpu_zonestats, cpu)->stat_threshold);
	for (i = 0; i < NR_PCP_LISTS; i++) {
		if (list_empty(&lists->lists[i]))
			continue;
		say("P %d %d", cpu, i);
		say_page_list(&lists->lists[i]);
	}
}

static void say_handles(void)
{
	unsigned long h;

	for (h = 0; h < MAX_HANDLES; h++)
		if (handles[h].kind)
			say("O %lu %ld %lu %c\n", h, (long)(handles[h].pfn - zone_start),
			    handles[h].nr_pages, handles[h].kind);
}

void dump_state(const char *tag, bool with_handles)
{
	unsigned long flags, foreign;
	int order, type, cpu;

	say("D begin %s\n", tag);
	say_geometry();
	spin_lock_irqsave(&zone->lock, flags);
	say_pageblock_types();
	for (order = 0; order < NR_ORDERS; order++)
		for (type = 0; type < MIGRATE_TYPES; type++) {
			if (list_empty(&zone->free_area[order].free_list[type]))
				continue;
			say("L %d %d", order, type);
			say_page_list(&zone->free_area[order].free_list[type]);
		}
	for_each_possible_cpu(cpu)
		say_pcp(cpu);
	find_pcp_pages();
	foreign = foreign_pages(true);
	spin_unlock_irqrestore(&zone->lock, flags);
	if (with_handles)
		say_handles();
	say("D end stat_free=%lu own=%lu offnode=%lu foreign=%lu async_mig=%lu\n",
	    zone_page_state(zone, NR_FREE_PAGES), nr_owned, nr_off_node, foreign,
	    nr_migrated_by_others);
}

/*
 * Nothing may depend on what happened before, or on time: per-cpu lists empty (and off, unless
 * wanted), their tuning at its start, and each zone counter exact, from here on unless a threshold
 * is wanted.
 */
void quiesce(void)
{
	int cpu, i;

	cancel_delayed_work_sync(shepherd);
	for_each_possible_cpu(cpu)
		cancel_delayed_work_sync(per_cpu_ptr(vmstat_work, cpu));
	drain_pages(zone);
	for_each_possible_cpu(cpu) {
		struct per_cpu_pages *lists = per_cpu_ptr(zone->per_cpu_pageset, cpu);
		struct per_cpu_zonestat *stats = per_cpu_ptr(zone->per_cpu_zonestats, cpu);

		if (!pcp) {
			WRITE_ONCE(lists->high, 0);
			WRITE_ONCE(lists->batch, 1);
		}
#if PCP_TUNES_ITSELF
		if (!pcp) {
			WRITE_ONCE(lists->high_min, 0);
			WRITE_ONCE(lists->high_max, 0);
		}
		lists->high = lists->high_min;
		lists->free_count = 0;
		lists->alloc_factor = 0;
		lists->flags = 0;
#else
		lists->free_factor = 0;
#endif
		stats->stat_threshold = stat_threshold;
		for (i = 0; i < NR_VM_ZONE_STAT_ITEMS; i++) {
			atomic_long_add(stats->vm_stat_diff[i], &zone->vm_stat[i]);
			stats->vm_stat_diff[i] = 0;
		}
	}
	drain_pages(zone);
	zone->watermark_boost = 0;
}
