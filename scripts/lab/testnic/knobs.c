// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/debug/testnic/DEVICE/: what tests may turn while the card runs, and the truth.
 *
 *   error_ppb      frequency error of the oscillator
 *   jitter_ns      stamps are late by up to so much
 *   drop_tx        every so many-th transmit stamp never comes; 0: all come
 *   delay_tx_us    transmit stamps come so late
 *   slots          so many transmit stamps can be under way if they are late, up to 16
 *   carrier        1 or 0: pulls the cable
 *   tx_stamped, tx_dropped, tx_no_slot, rx_stamped       counted so far
 *   pulse_start_ns, pulse_period_ns   when its output was told to begin, and how often to pulse
 *   truth          one line: counter of the system's clock source, CLOCK_MONOTONIC_RAW,
 *                  CLOCK_REALTIME and this clock, the last three in ns, all at one instant
 */

#include <linux/debugfs.h>
#include <linux/seq_file.h>
#include <linux/timekeeping.h>

#include "testnic.h"

static struct dentry *all;
static int users;

static int get_error(void *data, u64 *value)
{
	*value = (s64)READ_ONCE(((struct testnic *)data)->phc.error_ppb);
	return 0;
}

static int set_error(void *data, u64 value)
{
	phc_set_error(&((struct testnic *)data)->phc, (s32)value);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE_SIGNED(error_ops, get_error, set_error, "%lld\n");

static int get_carrier(void *data, u64 *value)
{
	*value = netif_carrier_ok(((struct testnic *)data)->dev);
	return 0;
}

static int set_carrier(void *data, u64 value)
{
	struct net_device *dev = ((struct testnic *)data)->dev;

	if (value)
		netif_carrier_on(dev);
	else
		netif_carrier_off(dev);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(carrier_ops, get_carrier, set_carrier, "%llu\n");

static int get_count(void *data, u64 *value)
{
	*value = atomic64_read(data);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(count_ops, get_count, NULL, "%llu\n");

static int truth_show(struct seq_file *file, void *unused)
{
	struct testnic *nic = file->private;
	struct system_time_snapshot now;

	ktime_get_snapshot(&now);
	seq_printf(file, "%llu %lld %lld %lld\n", now.cycles, ktime_to_ns(now.raw),
		   ktime_to_ns(now.real), phc_at(&nic->phc, ktime_to_ns(now.raw)));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(truth);

void knobs_start(struct testnic *nic)
{
	struct dentry *dir;

	if (!users++)
		all = debugfs_create_dir("testnic", NULL);
	dir = debugfs_create_dir(netdev_name(nic->dev), all);
	nic->knobs = dir;
	debugfs_create_file_unsafe("error_ppb", 0644, dir, nic, &error_ops);
	debugfs_create_u32("jitter_ns", 0644, dir, &nic->jitter_ns);
	debugfs_create_u32("drop_tx", 0644, dir, &nic->drop_tx);
	debugfs_create_u32("delay_tx_us", 0644, dir, &nic->delay_tx_us);
	debugfs_create_u32("slots", 0644, dir, &nic->slots);
	debugfs_create_file_unsafe("carrier", 0644, dir, nic, &carrier_ops);
	debugfs_create_file_unsafe("tx_stamped", 0444, dir, &nic->tx_stamped, &count_ops);
	debugfs_create_file_unsafe("tx_dropped", 0444, dir, &nic->tx_dropped, &count_ops);
	debugfs_create_file_unsafe("tx_no_slot", 0444, dir, &nic->tx_no_slot, &count_ops);
	debugfs_create_file_unsafe("rx_stamped", 0444, dir, &nic->rx_stamped, &count_ops);
	debugfs_create_u64("pulse_start_ns", 0444, dir, &nic->phc.pulse_start_ns);
	debugfs_create_u64("pulse_period_ns", 0444, dir, &nic->phc.pulse_period_ns);
	debugfs_create_file("truth", 0444, dir, nic, &truth_fops);
}

void knobs_stop(struct testnic *nic)
{
	debugfs_remove(nic->knobs);
	if (!--users)
		debugfs_remove(all);
}
