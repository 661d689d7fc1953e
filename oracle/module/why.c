// SPDX-License-Identifier: GPL-2.0-only
/* alloc_contig_range(), and what it says when it refuses: the page and the check. */
#include <linux/gfp.h>
#include <linux/hugetlb.h>
#include <linux/kprobes.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/tracepoint.h>

#include "compat.h"
#include "oracle.h"

static bool why_armed;
static unsigned long why_unmovable, why_not_free;	/* absolute PFNs, 0: none */
static struct tracepoint *test_pages_isolated_tp;

/* Makes the kernel name the unmovable page it found: by dump_page(), caught below. */
static int isolate_entry(struct kprobe *probe, struct pt_regs *regs)
{
	if (why_armed)
		ISOLATE_FLAGS_ARG(regs) |= REPORT_FAILURE;
	return 0;
}

static int dump_page_entry(struct kprobe *probe, struct pt_regs *regs)
{
	if (why_armed)
		why_unmovable = page_to_pfn((struct page *)regs->di);
	return 0;
}

static struct kprobe isolate_probe = {
	.symbol_name = "start_isolate_page_range", .pre_handler = isolate_entry,
};
static struct kprobe dump_page_probe = {
	.symbol_name = "dump_page", .pre_handler = dump_page_entry,
};

static void test_pages_isolated_hit(void *data, unsigned long start, unsigned long end,
				    unsigned long fin)
{
	if (why_armed)
		why_not_free = fin < end ? fin : 0;
}

static void find_tracepoint(struct tracepoint *tp, void *data)
{
	if (!strcmp(tp->name, "test_pages_isolated"))
		test_pages_isolated_tp = tp;
}

int watch_contig(void)
{
	int rc = register_kprobe(&isolate_probe);

	if (!rc)
		rc = register_kprobe(&dump_page_probe);
	for_each_kernel_tracepoint(find_tracepoint, NULL);
	if (!rc)
		rc = test_pages_isolated_tp ?
			tracepoint_probe_register(test_pages_isolated_tp, test_pages_isolated_hit,
						  NULL) : -ENOENT;
	return rc;
}

int contig(unsigned long start, unsigned long end)
{
	int rc;

	why_unmovable = why_not_free = 0;
	why_armed = true;
	rc = alloc_contig_range(start, end, MIGRATE_MOVABLE, GFP_KERNEL | __GFP_NOWARN);
	why_armed = false;
	return rc;
}

void say_why(void)
{
	if (why_not_free) {
		say(" why=T");
		say_pfn(':', why_not_free);
	} else if (why_unmovable) {
		say(" why=U");
		say_pfn(':', why_unmovable);
	} else {
		say(" why=-");
	}
}

/* The same with an absolute PFN, and what the page is: for machines in use, where any kind of page may be in the way. */
void say_page_why(void)
{
	unsigned long pfn = why_not_free ? why_not_free : why_unmovable;
	struct page *page = pfn ? pfn_to_online_page(pfn) : NULL;

	if (!pfn) {
		say(" why=-");
		return;
	}
	say(" why=%c:%lu", why_not_free ? 'T' : 'U', pfn);
	if (page)
		say(" class=%c ref=%d flags=%lx", PageHuge(page) ? 'H' : page_class(page),
		    page_ref_count(compound_head(page)), page->flags & ((1UL << NR_PAGEFLAGS) - 1));
}
