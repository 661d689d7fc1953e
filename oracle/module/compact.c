// SPDX-License-Identifier: GPL-2.0-only
/* Compaction of the recorded node, asked for the way a user does. */
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kernel.h>

#include "oracle.h"

/*
 * echo 1 >/sys/devices/system/node/nodeN/compact: the whole zone, synchronously, by this task. The
 * node has no other zone, and no page of the LRU lists unless it was there at boot.
 */
int compact_recorded_node(void)
{
	struct file *file;
	char path[64];
	loff_t pos = 0;
	ssize_t wrote;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/compact", nid);
	file = filp_open(path, O_WRONLY, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	wrote = kernel_write(file, "1", 1, &pos);
	filp_close(file, NULL);
	return wrote < 0 ? wrote : 0;
}
