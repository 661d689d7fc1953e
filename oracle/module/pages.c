// SPDX-License-Identifier: GPL-2.0-only
/* The pages that requests hold, and their migration: each is a driver's movable page. */
#include <linux/bitmap.h>
#include <linux/fs.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "compat.h"
#include "oracle.h"

struct handle *handles;
unsigned long *owned;	/* one bit for each page of the zone */
unsigned long nr_owned, nr_off_node;
unsigned long nr_migrated, nr_migrated_by_others;
struct task_struct *runner;

void own(unsigned long pfn, unsigned long nr_pages)
{
	if (range_in_zone(pfn, nr_pages)) {
		bitmap_set(owned, pfn - zone_start, nr_pages);
		nr_owned += nr_pages;
	} else {
		nr_off_node += nr_pages;
	}
}

static void disown(unsigned long pfn, unsigned long nr_pages)
{
	if (range_in_zone(pfn, nr_pages)) {
		bitmap_clear(owned, pfn - zone_start, nr_pages);
		nr_owned -= nr_pages;
	} else {
		nr_off_node -= nr_pages;
	}
}

static bool movable_isolate(struct page *page, isolate_mode_t mode)
{
	return true;
}

static void movable_putback(struct page *page)
{
}

static int movable_migrate(struct page *dst, struct page *src, enum migrate_mode mode);

/*
 * When compaction finds no target for a large page, 6.12 tries to split it, and takes these
 * operations for an address_space: what it reads behind them must say that no folio may be that
 * small (mapping_min_folio_order()), or it would lock and change whatever lies there.
 */
static const struct {
	struct movable_operations ops;
	u8 behind[sizeof(struct address_space)];
} driver = {
	.ops = {
		.isolate_page = movable_isolate,
		.migrate_page = movable_migrate,
		.putback_page = movable_putback,
	},
	.behind = { [0 ... sizeof(struct address_space) - 1] = 0xff },
};

static int movable_migrate(struct page *dst, struct page *src, enum migrate_mode mode)
{
	unsigned long h = page_private(src);
	unsigned long src_pfn = page_to_pfn(src), dst_pfn = page_to_pfn(dst);

	if (current != runner)
		nr_migrated_by_others++;
	get_page(dst);
	__SetPageMovable(dst, &driver.ops);
	set_page_private(dst, h);
	disown(src_pfn, 1UL << handles[h].order);
	own(dst_pfn, 1UL << handles[h].order);
	handles[h].pfn = dst_pfn;
	nr_migrated++;
	say_number(' ', src_pfn - zone_start);
	say_pfn('>', dst_pfn);
	set_page_private(src, 0);
	__ClearPageMovable(src);
	put_page(src);
	return MIGRATEPAGE_SUCCESS;
}

static bool migratable(const struct handle *handle)
{
	return handle->kind == 'M' || (handle->kind == 'm' && !handle->order);
}

static void set_movable(struct page *page, unsigned long h, bool movable)
{
	while (!trylock_page(page))
		cpu_relax();
	set_page_private(page, movable ? h : 0);
	if (movable)
		__SetPageMovable(page, &driver.ops);
	else
		__ClearPageMovable(page);
	unlock_page(page);
}

static gfp_t kind_gfp(char kind)
{
	gfp_t gfp = __GFP_THISNODE | __GFP_NOWARN | __GFP_NORETRY | __GFP_NOMEMALLOC;

	switch (kind | 0x20) {
	case 'r':
		gfp |= __GFP_RECLAIMABLE;
		break;
	case 'm':
	case 'p':
		gfp |= __GFP_MOVABLE;
		break;
	case 'h':
		gfp = (gfp & ~__GFP_NOMEMALLOC) | __GFP_HIGH | GFP_FLAG_ATOMIC;
		break;
	}
	if (kind < 'a')
		gfp |= __GFP_COMP;
	return gfp;
}

struct page *request_pages(unsigned long h, int order, char kind)
{
	struct page *page = __alloc_pages(kind_gfp(kind), order, nid, NULL);

	if (!page)
		return NULL;
	handles[h] = (struct handle){
		.pfn = page_to_pfn(page), .nr_pages = 1UL << order, .order = order, .kind = kind,
	};
	if (migratable(&handles[h]))
		set_movable(page, h, true);
	own(handles[h].pfn, handles[h].nr_pages);
	return page;
}

void release_pages_of(unsigned long h)
{
	struct handle *handle = &handles[h];
	struct page *page = pfn_to_page(handle->pfn);

	if (migratable(handle))
		set_movable(page, h, false);
	disown(handle->pfn, handle->nr_pages);
	if (handle->kind == 'C')
		free_contig_range(handle->pfn, handle->nr_pages);
	else
		__free_pages(page, handle->order);
	handle->kind = 0;
}
