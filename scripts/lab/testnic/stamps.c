// SPDX-License-Identifier: GPL-2.0
/* Hardware stamps: which packets get one, and how transmit stamps get back to the sender. */

#include <linux/errqueue.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/ptp_classify.h>
#include <linux/random.h>
#include <linux/udp.h>

#include "testnic.h"

#define NTP_PORT 123

static ktime_t stamp(struct testnic *nic)
{
	u32 jitter = READ_ONCE(nic->jitter_ns);
	s64 value = phc_now(&nic->phc);

	return ns_to_ktime(value + (jitter ? get_random_u32_below(jitter) : 0));
}

static void give(struct testnic *nic, struct sk_buff *skb, ktime_t at)
{
	struct skb_shared_hwtstamps stamps = { .hwtstamp = at };

	/* Consumes the clone. */
	skb_complete_tx_timestamp(skb, &stamps);
	atomic64_inc(&nic->tx_stamped);
}

static void deliver(struct work_struct *work)
{
	struct testnic *nic = container_of(work, struct testnic, deliver.work);
	bool more = false;

	for (int i = 0; i < TESTNIC_SLOTS; i++) {
		struct slot ready = {};

		spin_lock_bh(&nic->slots_lock);
		if (nic->slot[i].skb) {
			if (nic->slot[i].due <= ktime_get_raw_ns())
				swap(ready, nic->slot[i]);
			else
				more = true;
		}
		spin_unlock_bh(&nic->slots_lock);
		if (ready.skb)
			give(nic, ready.skb, ready.stamp);
	}
	if (more)
		schedule_delayed_work(&nic->deliver, 1);
}

/* Keeps a stamp for later; false if all registers are taken. */
static bool keep(struct testnic *nic, struct sk_buff *skb, ktime_t at, u32 delay_us)
{
	u32 slots = min_t(u32, READ_ONCE(nic->slots), TESTNIC_SLOTS);
	bool kept = false;

	spin_lock_bh(&nic->slots_lock);
	for (u32 i = 0; i < slots && !kept; i++) {
		if (nic->slot[i].skb)
			continue;
		nic->slot[i] = (struct slot){ skb, at, ktime_get_raw_ns() + 1000ULL * delay_us };
		kept = true;
	}
	spin_unlock_bh(&nic->slots_lock);
	if (kept)
		schedule_delayed_work(&nic->deliver, usecs_to_jiffies(delay_us));
	return kept;
}

static bool lost(struct testnic *nic)
{
	u32 every = READ_ONCE(nic->drop_tx);

	return every && (u32)atomic_inc_return(&nic->tx_asked) % every == 0;
}

/* Called last before the packet goes to the device below. */
void stamp_transmitted(struct testnic *nic, struct sk_buff *skb)
{
	u32 delay_us = READ_ONCE(nic->delay_tx_us);
	bool wanted = nic->config.tx_type == HWTSTAMP_TX_ON &&
		      (skb_shinfo(skb)->tx_flags & SKBTX_HW_TSTAMP);
	struct sk_buff *clone;
	ktime_t at;

	/* The kernel keeps its own stamp back for senders that want only one of the two. */
	if (wanted)
		skb_shinfo(skb)->tx_flags |= SKBTX_IN_PROGRESS;
	skb_tx_timestamp(skb);
	clone = wanted ? skb_clone_sk(skb) : NULL;
	at = stamp(nic);
	/* The device below would stamp it once more. */
	skb_shinfo(skb)->tx_flags &= ~(SKBTX_ANY_TSTAMP | SKBTX_IN_PROGRESS);
	if (!clone)
		return;
	if (lost(nic)) {
		atomic64_inc(&nic->tx_dropped);
		kfree_skb(clone);
	} else if (!delay_us) {
		give(nic, clone, at);
	} else if (!keep(nic, clone, at, delay_us)) {
		atomic64_inc(&nic->tx_no_slot);
		kfree_skb(clone);
	}
}

/* Whether a packet is NTP's, from or to its port. */
static bool is_ntp(const struct sk_buff *skb)
{
	const struct udphdr *udp;
	struct udphdr room;
	int at;

	if (skb->protocol == htons(ETH_P_IP)) {
		struct iphdr space;
		const struct iphdr *ip = skb_header_pointer(skb, 0, sizeof(space), &space);

		if (!ip || ip->protocol != IPPROTO_UDP || (ip->frag_off & htons(IP_OFFSET)))
			return false;
		at = 4 * ip->ihl;
	} else if (skb->protocol == htons(ETH_P_IPV6)) {
		struct ipv6hdr space;
		const struct ipv6hdr *ip = skb_header_pointer(skb, 0, sizeof(space), &space);

		if (!ip || ip->nexthdr != IPPROTO_UDP)
			return false;
		at = sizeof(space);
	} else {
		return false;
	}
	udp = skb_header_pointer(skb, at, sizeof(room), &room);
	return udp && (udp->dest == htons(NTP_PORT) || udp->source == htons(NTP_PORT));
}

/* Whether a packet is an event message of PTP version 2: Sync, Delay_Req, Pdelay_Req, Pdelay_Resp. */
static bool is_ptp_event(struct sk_buff *skb)
{
	struct ptp_header *header = NULL;
	unsigned int class;

	/* Packets come without the Ethernet header, classifiers want it. */
	skb_push(skb, ETH_HLEN);
	class = ptp_classify_raw(skb);
	if (class != PTP_CLASS_NONE)
		header = ptp_parse_header(skb, class);
	skb_pull(skb, ETH_HLEN);
	return header && (class & PTP_CLASS_VMASK) == PTP_CLASS_V2 &&
	       ptp_get_msgtype(header, class) < 4;
}

void stamp_received(struct testnic *nic, struct sk_buff *skb)
{
	bool wanted = false;

	switch (nic->config.rx_filter) {
	case HWTSTAMP_FILTER_ALL:
		wanted = true;
		break;
	case HWTSTAMP_FILTER_NTP_ALL:
		wanted = is_ntp(skb);
		break;
	case HWTSTAMP_FILTER_PTP_V2_EVENT:
		wanted = is_ptp_event(skb);
		break;
	default:
		break;
	}
	if (!wanted)
		return;
	skb_hwtstamps(skb)->hwtstamp = stamp(nic);
	atomic64_inc(&nic->rx_stamped);
}

/* The narrowest filter on offer that stamps all that was asked for, as drivers do. */
int stamps_configure(struct testnic *nic, struct kernel_hwtstamp_config *config)
{
	int filter = config->rx_filter;

	if (config->tx_type != HWTSTAMP_TX_OFF && config->tx_type != HWTSTAMP_TX_ON)
		return -ERANGE;
	switch (filter) {
	case HWTSTAMP_FILTER_PTP_V2_L2_EVENT:
	case HWTSTAMP_FILTER_PTP_V2_L2_SYNC:
	case HWTSTAMP_FILTER_PTP_V2_L2_DELAY_REQ:
	case HWTSTAMP_FILTER_PTP_V2_L4_EVENT:
	case HWTSTAMP_FILTER_PTP_V2_L4_SYNC:
	case HWTSTAMP_FILTER_PTP_V2_L4_DELAY_REQ:
	case HWTSTAMP_FILTER_PTP_V2_SYNC:
	case HWTSTAMP_FILTER_PTP_V2_DELAY_REQ:
		filter = HWTSTAMP_FILTER_PTP_V2_EVENT;
		break;
	default:
		break;
	}
	if (filter >= BITS_PER_TYPE(nic->rx_filters) || !(nic->rx_filters & BIT(filter)))
		filter = HWTSTAMP_FILTER_ALL;
	if (!(nic->rx_filters & BIT(filter)))
		return -ERANGE;
	config->rx_filter = filter;
	nic->config = *config;
	return 0;
}

void stamps_start(struct testnic *nic)
{
	spin_lock_init(&nic->slots_lock);
	INIT_DELAYED_WORK(&nic->deliver, deliver);
}

void stamps_stop(struct testnic *nic)
{
	cancel_delayed_work_sync(&nic->deliver);
	for (int i = 0; i < TESTNIC_SLOTS; i++)
		kfree_skb(nic->slot[i].skb);
}
