#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
# First process of the virtual machine of oracle/allocations.py: trace what the machine allocates, tell it, end.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tracefs tracefs /sys/kernel/tracing || echo "TRACE FAILED mount"
mkdir -p /tmp /out
mount -t tmpfs -o size=60% tmp /tmp
mount -t tmpfs -o size=30% out /out
# pages that were there before the trace begins, to be freed within it
dd if=/dev/zero of=/tmp/before bs=64k count=100 2>/dev/null

trace=/sys/kernel/tracing
echo mono >$trace/trace_clock
echo 100000 >$trace/buffer_size_kb
for group in kmem page_isolation cma compaction migrate; do
	[ -d $trace/events/$group ] || echo "TRACE LACKS $group"
done
for event in kmem/mm_page_alloc kmem/mm_page_free kmem/mm_page_free_batched kmem/mm_page_alloc_zone_locked \
	kmem/mm_page_pcpu_drain kmem/mm_page_alloc_extfrag page_isolation cma compaction \
	migrate/mm_migrate_pages migrate/mm_migrate_pages_start; do
	[ -e $trace/events/$event/enable ] && echo 1 >$trace/events/$event/enable
done
echo 1 >$trace/tracing_on

rm /tmp/before
i=0
while [ $i -lt "${FILES:-40}" ]; do
	dd if=/dev/urandom "of=/tmp/f$i" bs=16k count=$((i % 23 + 1)) 2>/dev/null
	[ $((i % 3)) = 2 ] && rm "/tmp/f$((i - 1))"
	i=$((i + 1))
done
# anonymous memory, huge where the kernel thinks so
sort /tmp/f0 /tmp/f3 /tmp/f6 >/dev/null 2>&1
echo 8 >/proc/sys/vm/nr_hugepages
echo 0 >/proc/sys/vm/nr_hugepages
echo 1 >/proc/sys/vm/compact_memory
# contiguous ranges: gigantic pages, and memory blocks that go offline
huge=/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages
[ -e $huge ] && echo 1 >$huge && echo 0 >$huge
for block in /sys/devices/system/memory/memory1*; do
	echo offline >"$block/state" 2>/dev/null && echo online >"$block/state"
done
# a CMA area, where the kernel has one and lets it be used by hand: buffers beside files, more than there is, and all back
mount -t debugfs debug /sys/kernel/debug 2>/dev/null
for area in /sys/kernel/debug/cma/*; do
	[ -e "$area/alloc" ] || continue
	for pages in 256 2048 1 4096 512 16384 64; do
		echo $pages >"$area/alloc" 2>/dev/null
	done
	dd if=/dev/urandom of=/tmp/f-cma bs=64k count=200 2>/dev/null
	for pages in 2048 256 4096; do
		echo $pages >"$area/free" 2>/dev/null
		echo $((pages / 2)) >"$area/alloc" 2>/dev/null
	done
	echo 100000 >"$area/free" 2>/dev/null
done
rm /tmp/f*
echo 0 >$trace/tracing_on

{ echo "# os release : $(uname -r)"; echo "# arch : $(uname -m)"; cat $trace/trace; } | gzip >/out/trace.gz
base64 /out/trace.gz >/dev/ttyS1
sync
echo "TRACE DONE"
poweroff -f
