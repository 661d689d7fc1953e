// SPDX-License-Identifier: GPL-2.0-only
/* The text of the record, in one piece of memory. */
#include <linux/kernel.h>

#include "oracle.h"

#define LINE_ROOM 4096

char *record;
size_t record_len, record_max;
bool record_full;

static bool record_has_room(void)
{
	if (record_len + LINE_ROOM <= record_max)
		return true;
	record_full = true;
	return false;
}

void say(const char *fmt, ...)
{
	va_list args;

	if (!record_has_room())
		return;
	va_start(args, fmt);
	record_len += vscnprintf(record + record_len, record_max - record_len, fmt, args);
	va_end(args);
}

/* The same as say("%c%lu"), ten times as fast: most of a record is numbers. */
void say_number(char before, unsigned long value)
{
	char digits[24];
	int n = 0;

	if (!record_has_room())
		return;
	do {
		digits[n++] = '0' + value % 10;
		value /= 10;
	} while (value);
	record[record_len++] = before;
	while (n)
		record[record_len++] = digits[--n];
}

/* A PFN of the zone after @before; one outside it as !absolute. */
void say_pfn(char before, unsigned long pfn)
{
	if (in_zone(pfn))
		say_number(before, pfn - zone_start);
	else
		say_number('!', pfn);
}
