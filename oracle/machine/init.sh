#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
# First process of the virtual machine of oracle/guest_machine.py: use memory, write down what /proc says, then do what the
# console asks for: "compact", "drop_caches", "send" (the files), "dump" or a number of pages (the kernel's own answers).
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp /out /disk
mount -t tmpfs -o size=90% tmp /tmp
mount -t tmpfs -o size=100m out /out
mkdir -p /out/proc
. /machine.conf

fail() {
	echo "MACHINE FAILED $*"
	poweroff -f
}

for module in $MODULES; do
	insmod "/modules/$module" || fail "insmod $module"
done
mount -t ext4 /dev/vda /disk || fail "mount /dev/vda"
answer=$(insmod /oracle.ko ask=1 log_mib=4 2>&1) || fail "$answer"
# what is dirty stays so until it is looked at
echo 0 >/proc/sys/vm/dirty_writeback_centisecs
echo "$HUGEPAGES" >/proc/sys/vm/nr_hugepages
ulimit -n 60000

/bin/use "$SEED" $USES &
while [ ! -e /ready ]; do
	sleep 1
	kill -0 $! 2>/dev/null || fail "the workload ended"
done
sleep 1

collect() {
	/bin/use collect version cmdline meminfo vmstat iomem slabinfo kpagecount kpageflags zoneinfo buddyinfo pagetypeinfo ||
		fail "collecting /proc"
	echo "MACHINE READY"
}

done_with() {
	echo "MACHINE DONE"
	poweroff -f
}

collect
while read -r command; do
	case $command in
	compact)
		echo 1 >/proc/sys/vm/compact_memory
		collect
		;;
	drop_caches)
		echo 1 >/proc/sys/vm/drop_caches
		collect
		;;
	send)
		tar cz -C /out proc | base64 >/dev/ttyS1
		done_with
		;;
	dump | [0-9]*)
		echo "$command" >/proc/oracle || fail "the record is too long"
		gzip -c /proc/oracle | base64 >/dev/ttyS1
		done_with
		;;
	esac
done
