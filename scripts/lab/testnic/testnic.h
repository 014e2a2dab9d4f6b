/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A network card for tests: what its parts know of each other.
 *
 *   phc.c      the clock: an oscillator of its own, and what a PTP driver offers
 *   stamps.c   which packets are stamped, and how transmit stamps get back
 *   nic.c      the network device on top of another one, and the module
 *   knobs.c    what tests may turn while it runs, and the truth
 */
#ifndef TESTNIC_H
#define TESTNIC_H

#include <linux/hrtimer.h>
#include <linux/net_tstamp.h>
#include <linux/netdevice.h>
#include <linux/ptp_clock_kernel.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

/* So many transmit stamps can be under way if they take their time. */
#define TESTNIC_SLOTS 16

/*
 * A line over CLOCK_MONOTONIC_RAW: counter = base_ns + (1 + rate / 2^48) (raw - base_raw). The rate
 * is the oscillator's error and what the clock is told to correct, together.
 */
struct phc {
	struct ptp_clock *ptp;
	struct ptp_clock_info info;
	spinlock_t lock; /* for all below */
	u64 base_raw;
	s64 base_ns;
	s64 rate;
	long scaled_ppm; /* as adjfine was told: 2^-16 ppm */
	s32 error_ppb;
	struct hrtimer pulse; /* at each second, while the kernel is to have it */
	s64 next_second;
	u64 pulse_start_ns; /* as the output was told; not guarded */
	u64 pulse_period_ns;
};

/* A transmit stamp on its way to whoever sent the packet. */
struct slot {
	struct sk_buff *skb;
	ktime_t stamp;
	u64 due; /* raw, ns */
};

struct testnic {
	struct net_device *dev;
	struct net_device *lower;
	struct phc phc;

	struct kernel_hwtstamp_config config;
	u32 rx_filters; /* bits of those that are offered */
	bool precise; /* whether the clock offers a cross-stamp */

	/* Knobs; read without a lock, as whole words. */
	u32 jitter_ns;
	u32 drop_tx; /* every so many-th transmit stamp is lost; 0: none */
	u32 delay_tx_us;
	u32 slots; /* of TESTNIC_SLOTS */

	/* Counted for tests. */
	atomic64_t tx_stamped, tx_dropped, tx_no_slot, rx_stamped;
	atomic_t tx_asked;

	spinlock_t slots_lock; /* for `slot` */
	struct slot slot[TESTNIC_SLOTS];
	struct delayed_work deliver;

	struct dentry *knobs;
};

/* phc.c */
int phc_start(struct testnic *nic, s32 error_ppb, s64 offset_ns, int max_adj);
void phc_stop(struct testnic *nic);
s64 phc_at(struct phc *phc, u64 raw);
s64 phc_now(struct phc *phc);
void phc_set_error(struct phc *phc, s32 error_ppb);

/* stamps.c */
void stamps_start(struct testnic *nic);
void stamps_stop(struct testnic *nic);
void stamp_transmitted(struct testnic *nic, struct sk_buff *skb);
void stamp_received(struct testnic *nic, struct sk_buff *skb);
int stamps_configure(struct testnic *nic, struct kernel_hwtstamp_config *config);

/* knobs.c */
void knobs_start(struct testnic *nic);
void knobs_stop(struct testnic *nic);

#endif
