#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
# First process of the virtual machine: silence the kernel, bring node 1 online, record, switch off.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
. /oracle.conf

fail() {
	echo "ORACLE FAILED $*"
	poweroff -f
}

for module in $MODULES; do
	insmod "/modules/$module" || fail "insmod $module"
done
[ -b /dev/vda ] || fail "no disk /dev/vda"
if [ -n "$PROBE" ]; then
	echo "ORACLE DONE"
	poweroff -f
fi

# Nothing may run on its own account while requests are recorded.
echo 0 >/proc/sys/vm/watermark_boost_factor
echo 0 >/proc/sys/vm/compaction_proactiveness
echo 1000000 >/proc/sys/vm/stat_interval
echo 0 >/proc/sys/kernel/numa_balancing 2>/dev/null

# In ascending order, so that the free lists are too.
for block in $(ls -d /sys/devices/system/memory/memory[0-9]* | sed 's/.*memory//' | sort -n); do
	state=/sys/devices/system/memory/memory$block/state
	[ "$(cat "$state")" = offline ] || continue
	echo online_kernel >"$state" || fail "memory block $block stays offline"
done

answer=$(insmod /oracle.ko input=/requests.txt "pcp=$PCP" "note=$NOTE" "log_mib=$LOG_MIB" "stat_threshold=$LAG" 2>&1) || fail "$answer"
cat /proc/oracle >/dev/vda || fail "the record does not fit the disk"
sync
echo "ORACLE DONE"
poweroff -f
