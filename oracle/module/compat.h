/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between the kernels that are recorded. The newest one is the straight path. */
#ifndef ORACLE_COMPAT_H
#define ORACLE_COMPAT_H

#include <linux/gfp.h>
#include <linux/mmzone.h>
#include <linux/page-isolation.h>
#include <linux/version.h>

/* 6.8 "mm, treewide: rename MAX_ORDER to MAX_PAGE_ORDER"; here always the number of orders. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#define NR_ORDERS NR_PAGE_ORDERS
#else
#define NR_ORDERS MAX_ORDER
#endif

/* 6.3 "mm: discard __GFP_ATOMIC": __GFP_HIGH alone says it since. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#define GFP_FLAG_ATOMIC 0
#else
#define GFP_FLAG_ATOMIC __GFP_ATOMIC
#endif

/* 6.7 "mm: tune PCP high automatically": high_min, high_max, alloc_factor and free_count. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
#define PCP_TUNES_ITSELF 1
#else
#define PCP_TUNES_ITSELF 0
#endif

/* 6.12 "mm/page_alloc: keep track of free highatomic": zone->nr_free_highatomic. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define ZONE_COUNTS_FREE_HIGHATOMIC 1
#else
#define ZONE_COUNTS_FREE_HIGHATOMIC 0
#endif

#ifndef REPORT_FAILURE
#define REPORT_FAILURE 0x2
#endif

/* start_isolate_page_range(start, end, migratetype, flags, gfp), up to 6.16 */
#define ISOLATE_FLAGS_ARG(regs) ((regs)->cx)

#endif
