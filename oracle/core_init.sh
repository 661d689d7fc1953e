#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
# First process of the virtual machine of oracle/core.py: use memory in many ways, tell /proc, hold still to be dumped.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp /out
mount -t tmpfs -o size=200m tmp /tmp
mount -t tmpfs -o size=100m out /out
# it tells QEMU where VMCOREINFO lies, which goes into the dump
insmod /fw_cfg.ko || echo "CORE FAILED insmod qemu_fw_cfg"

i=0
while [ $i -lt 60 ]; do
	dd if=/dev/urandom "of=/tmp/f$i" bs=64k count=$((i % 17 + 1)) 2>/dev/null
	i=$((i + 1))
done
i=0
while [ $i -lt 60 ]; do
	rm "/tmp/f$i"
	i=$((i + 3))
done
echo 3 >/proc/sys/vm/nr_hugepages
sleep 100000 &
mkdir -p /out/proc
# off by default on a machine as small as this
echo always >/sys/kernel/mm/transparent_hugepage/enabled
# pages that somebody holds, and which those are
/holder /out/proc/held &
i=0
while [ ! -s /out/proc/held ] && [ $i -lt 60 ]; do
	sleep 1
	i=$((i + 1))
done
[ -s /out/proc/held ] || echo "CORE FAILED holder"
# twice: the first time makes the room that the second writes to
for round in 1 2; do
	for file in version cmdline meminfo vmstat iomem slabinfo kpagecount kpageflags zoneinfo buddyinfo pagetypeinfo; do
		dd "if=/proc/$file" "of=/out/proc/$file" bs=1M conv=notrunc 2>/dev/null
	done
done
tar cz -C /out proc | base64 >/dev/ttyS1
echo "CORE READY"
read -r forever
