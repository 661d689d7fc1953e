/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the recorder share. */
#ifndef ORACLE_H
#define ORACLE_H

#include <linux/mmzone.h>
#include <linux/types.h>

#define HOLE_TYPE 9		/* stands for "no memory here" among the pageblock types */
#define MAX_HANDLES (1UL << 20)

/* main.c: what is recorded */
extern int nid;
extern bool pcp;
extern int stat_threshold;
extern struct zone *zone;
extern unsigned long zone_start, zone_end;

static inline bool range_in_zone(unsigned long pfn, unsigned long nr_pages)
{
	return pfn >= zone_start && pfn + nr_pages <= zone_end;
}

static inline bool in_zone(unsigned long pfn)
{
	return range_in_zone(pfn, 1);
}

/* record.c */
extern char *record;
extern size_t record_len, record_max;
extern bool record_full;

__printf(1, 2) void say(const char *fmt, ...);
void say_number(char before, unsigned long value);
void say_pfn(char before, unsigned long pfn);

/* pages.c */
/*
 * kind: u r m p h as in a request (upper case: compound), C for a contig range, 0 for an empty
 * handle.
 */
struct handle {
	unsigned long pfn, nr_pages;
	u8 order;
	char kind;
};

extern struct handle *handles;
extern unsigned long *owned;
extern unsigned long nr_owned, nr_off_node;
extern unsigned long nr_migrated, nr_migrated_by_others;
extern struct task_struct *runner;

void own(unsigned long pfn, unsigned long nr_pages);
struct page *request_pages(unsigned long h, int order, char kind);
void release_pages_of(unsigned long h);

/* compact.c */
int compact_recorded_node(void);

/* why.c */
int watch_contig(void);
int contig(unsigned long start, unsigned long end);
void say_why(void);
void say_page_why(void);

/* ask.c */
unsigned long largest_span(void);
int ask_init(void);

/* state.c */
int state_init(unsigned long span);
char page_class(struct page *page);
void say_hash(unsigned long nr_ops);
void dump_state(const char *tag, bool with_handles);
void quiesce(void);
int isolate(unsigned long start, unsigned long end);
void unisolate(unsigned long start, unsigned long end);

#endif
