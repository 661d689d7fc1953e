/*
 * The yardstick: the buddy allocator of release 6.1 as a C programmer would write it by hand.
 *
 * Same algorithm, same memory layout and same operation arrays as the core, so that the ratio of
 * the two shows what the core's language and interface cost, and equal results show that both do
 * the same work. Left out: isolation, contiguous ranges, CMA, HIGHATOMIC, watermarks, the event log
 * and the check of arguments. No block larger than a pageblock may be asked for together with
 * stealing (counting the movable pages of a pageblock looks at heads inside it only).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { UNMOVABLE, MOVABLE, RECLAIMABLE, TYPES = 6 };
enum { FREE = 0x80, USED = 0x40, ORDER = 0x1f };
enum { CLASS = 0x0f, ANON = 2, FILE_ = 3, MOVABLE_OPS = 4, THP = 9 };

#define NONE UINT32_MAX

typedef struct {
	uint8_t op, order, type, flags;
	uint32_t handle, start, pages;
} operation;

typedef struct {
	uint32_t pages, max_order, block_order;
	uint32_t *next, *prev;          /* frames, then the heads of the lists */
	uint8_t *state, *flags, *block; /* block: type of each pageblock */
	int64_t free_pages;
} zone;

static inline uint32_t head_of(const zone *z, uint32_t order, uint32_t type)
{
	return z->pages + order * TYPES + type;
}

static inline uint32_t type_of(const zone *z, uint32_t page)
{
	return z->block[page >> z->block_order];
}

static inline void link_between(zone *z, uint32_t page, uint32_t before, uint32_t after)
{
	z->next[page] = after;
	z->prev[page] = before;
	z->next[before] = page;
	z->prev[after] = page;
}

static inline void unlink_page(zone *z, uint32_t page)
{
	uint32_t after = z->next[page], before = z->prev[page];

	z->next[before] = after;
	z->prev[after] = before;
}

static inline void list_block(zone *z, uint32_t page, uint32_t order, uint32_t type, int tail)
{
	uint32_t head = head_of(z, order, type);

	z->state[page] = FREE | order;
	if (tail)
		link_between(z, page, z->prev[head], head);
	else
		link_between(z, page, head, z->next[head]);
}

static inline void unlist_block(zone *z, uint32_t page)
{
	unlink_page(z, page);
	z->state[page] = 0;
}

static inline uint32_t first_block(const zone *z, uint32_t order, uint32_t type)
{
	uint32_t head = head_of(z, order, type), page = z->next[head];

	return page == head ? NONE : page;
}

static void give(zone *z, uint32_t page, uint32_t order, uint32_t type, int tail)
{
	/* read once: after a store to a byte C has to read them again */
	uint32_t *next = z->next, *prev = z->prev;
	uint8_t *state = z->state, seek = FREE | order, largest = FREE | z->max_order;
	uint64_t at = page, size = 1ull << order;

	z->free_pages += (int64_t)size;
	for (; seek < largest; seek++, size += size) {
		uint64_t buddy = at ^ size, before, after;

		if (state[buddy] != seek)
			break;
		before = prev[buddy];
		after = next[buddy];
		next[before] = after;
		prev[after] = before;
		state[buddy] = 0;
		at &= buddy;
	}
	/* the parent's buddy is free: the parent is likely to merge soon, so keep it */
	if (!tail && seek + 1 < largest)
		tail = state[(at | size) ^ 3 * size] == seek + 1;
	list_block(z, at, seek & ORDER, type, tail);
}

static uint32_t take(zone *z, uint32_t order, uint32_t type)
{
	uint32_t *next = z->next, *prev = z->prev;
	uint8_t *state = z->state;

	for (uint32_t large = order; large <= z->max_order; large++) {
		uint64_t page = first_block(z, large, type), head = head_of(z, large, type);

		if (page == NONE)
			continue;
		unlist_block(z, page);
		while (large > order) {
			uint64_t half;

			/* a smaller list is empty, or it would have been taken from */
			large--;
			head -= TYPES;
			half = page + (1u << large);
			state[half] = FREE | large;
			next[half] = prev[half] = head;
			next[head] = prev[head] = half;
		}
		return page;
	}
	return NONE;
}

static int moves_whole(const zone *z, uint32_t order, uint32_t type)
{
	return order >= z->block_order / 2 || type != MOVABLE;
}

static uint32_t other_type(const zone *z, uint32_t order, uint32_t type)
{
	static const uint8_t others[3][2] = {
		{ RECLAIMABLE, MOVABLE }, { RECLAIMABLE, UNMOVABLE }, { UNMOVABLE, MOVABLE },
	};

	for (int i = 0; i < 2; i++)
		if (first_block(z, order, others[type][i]) != NONE)
			return others[type][i];
	return TYPES;
}

static void move_block(zone *z, uint32_t page, uint32_t order, uint32_t type)
{
	uint32_t head = head_of(z, order, type);

	unlink_page(z, page);
	link_between(z, page, z->prev[head], head);
}

/* Bring a block of another type to the request's lists, perhaps with all of its pageblock. */
static void steal(zone *z, uint32_t page, uint32_t type, int whole)
{
	uint32_t order = z->state[page] & ORDER, old = type_of(z, page);
	uint32_t size = 1u << z->block_order, start = page & ~(size - 1);
	uint32_t moved = 0, movable = 0, alike = 0;

	if (order >= z->block_order) {
		memset(z->block + (page >> z->block_order), type, 1u << (order - z->block_order));
		move_block(z, page, order, type);
		return;
	}
	if (!whole) {
		move_block(z, page, order, type);
		return;
	}
	for (uint32_t at = start; at < start + size;) {
		uint8_t state = z->state[at], class = z->flags[at] & CLASS;
		uint32_t pages = 1u << (state & ORDER);

		if (state & FREE) {
			move_block(z, at, state & ORDER, type);
			moved += pages;
		} else if (state & USED && (class == ANON || class == FILE_ || class == THP)) {
			movable += pages;
		} else if (state & USED && class == MOVABLE_OPS) {
			movable++;
		}
		at += state ? pages : 1;
	}
	if (type == MOVABLE)
		alike = movable;
	else if (old == MOVABLE)
		alike = size - (moved + movable);
	if (moved + alike >= size / 2)
		z->block[page >> z->block_order] = type;
}

static int fall_back(zone *z, uint32_t order, uint32_t type)
{
	uint32_t large = z->max_order, other;

	while ((other = other_type(z, large, type)) == TYPES)
		if (large-- == order)
			return 0;
	if (!moves_whole(z, large, type) && large > order)
		for (large = order; (other = other_type(z, large, type)) == TYPES;)
			large++;
	steal(z, first_block(z, large, other), type, moves_whole(z, large, type));
	return 1;
}

static uint32_t allocate(zone *z, uint32_t order, uint32_t type, uint32_t flags, uint32_t owner)
{
	uint32_t page;

	if (z->free_pages < (int64_t)1 << order)
		return NONE;
	page = take(z, order, type);
	if (page == NONE && fall_back(z, order, type))
		page = take(z, order, type);
	if (page == NONE)
		return NONE;
	z->free_pages -= (int64_t)1 << order;
	z->state[page] = USED | order;
	z->flags[page] = flags;
	z->next[page] = owner;
	return page;
}

void peer_delete(zone *z)
{
	if (!z)
		return;
	free(z->next);
	free(z->prev);
	free(z->state);
	free(z->flags);
	free(z->block);
	free(z);
}

/* pages: a multiple of a max order block. All of it is free and MOVABLE. */
zone *peer_new(uint32_t pages, uint32_t max_order, uint32_t block_order)
{
	uint32_t heads = (max_order + 1) * TYPES;
	zone *z = calloc(1, sizeof(*z));

	if (!z)
		return NULL;
	z->pages = pages;
	z->max_order = max_order;
	z->block_order = block_order;
	z->next = calloc((size_t)pages + heads, sizeof(*z->next));
	z->prev = calloc((size_t)pages + heads, sizeof(*z->prev));
	z->state = calloc(pages, 1);
	z->flags = calloc(pages, 1);
	z->block = malloc(pages >> block_order);
	if (!z->next || !z->prev || !z->state || !z->flags || !z->block) {
		peer_delete(z);
		return NULL;
	}
	memset(z->block, MOVABLE, pages >> block_order);
	for (uint32_t head = pages; head < pages + heads; head++)
		z->next[head] = z->prev[head] = head;
	for (uint32_t page = 0; page < pages; page += 1u << max_order)
		give(z, page, max_order, MOVABLE, 1);
	return z;
}

/* Run allocations (1) and frees (2); results as the core's: the page, or a negated errno. */
void peer_run(zone *z, const operation *ops, int64_t count, int64_t *results, uint32_t *handles)
{
	for (int64_t i = 0; i < count; i++) {
		const operation *op = ops + i;
		uint32_t page = handles[op->handle];

		if (op->op == 1) {
			if (page != NONE) {
				results[i] = -17;
				continue;
			}
			page = allocate(z, op->order, op->type, op->flags, op->handle);
			handles[op->handle] = page;
			results[i] = page == NONE ? -12 : (int64_t)page;
		} else {
			results[i] = -2;
			if (page != NONE) {
				uint32_t order = z->state[page] & ORDER;

				z->state[page] = 0;
				z->flags[page] = 0;
				give(z, page, order, type_of(z, page), 0);
				results[i] = page;
			}
			handles[op->handle] = NONE;
		}
	}
}
