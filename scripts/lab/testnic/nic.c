// SPDX-License-Identifier: GPL-2.0
/*
 * A network card for tests: hw0, hw1, ... each on top of a device that exists, through which its
 * packets go, with a clock of its own and hardware stamps.
 */

#include <linux/debugfs.h>
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/module.h>
#include <linux/rtnetlink.h>

#include "testnic.h"

#define CARDS 4

static char *lower[CARDS];
static int cards;
module_param_array(lower, charp, &cards, 0444);
MODULE_PARM_DESC(lower, "devices to put a card on, such as eth1,eth2");

static int error_ppb[CARDS];
module_param_array(error_ppb, int, NULL, 0444);
MODULE_PARM_DESC(error_ppb, "frequency error of each card's oscillator");

static long offset_ns[CARDS];
module_param_array(offset_ns, long, NULL, 0444);
MODULE_PARM_DESC(offset_ns, "what each card's clock is ahead of CLOCK_REALTIME at first");

static uint rx_filters = BIT(HWTSTAMP_FILTER_NONE) | BIT(HWTSTAMP_FILTER_ALL) |
			 BIT(HWTSTAMP_FILTER_PTP_V2_EVENT) | BIT(HWTSTAMP_FILTER_NTP_ALL);
module_param(rx_filters, uint, 0444);
MODULE_PARM_DESC(rx_filters, "receive filters on offer, as in ethtool's ts_info (default: 0x9003)");

static bool precise;
module_param(precise, bool, 0444);
MODULE_PARM_DESC(precise, "offer PTP_SYS_OFFSET_PRECISE");

static int max_adj = 62499999;
module_param(max_adj, int, 0444);
MODULE_PARM_DESC(max_adj, "the most a clock's frequency can be corrected, ppb");

static struct net_device *devices[CARDS];

static int nic_open(struct net_device *dev)
{
	struct testnic *nic = netdev_priv(dev);
	int result = nic->lower->flags & IFF_UP ? 0 : dev_open(nic->lower, NULL);

	if (!result)
		result = dev_set_promiscuity(nic->lower, 1);
	if (!result)
		netif_start_queue(dev);
	return result;
}

static int nic_stop(struct net_device *dev)
{
	struct testnic *nic = netdev_priv(dev);

	netif_stop_queue(dev);
	dev_set_promiscuity(nic->lower, -1);
	return 0;
}

static netdev_tx_t nic_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct testnic *nic = netdev_priv(dev);

	if (!netif_carrier_ok(dev)) {
		dev_core_stats_tx_dropped_inc(dev);
		kfree_skb(skb);
		return NETDEV_TX_OK;
	}
	dev_sw_netstats_tx_add(dev, 1, skb->len);
	stamp_transmitted(nic, skb);
	skb->dev = nic->lower;
	dev_queue_xmit(skb);
	return NETDEV_TX_OK;
}

/* What the device below receives comes here instead. */
static rx_handler_result_t nic_receive(struct sk_buff **slot)
{
	struct sk_buff *skb = skb_share_check(*slot, GFP_ATOMIC);
	struct testnic *nic;

	if (!skb)
		return RX_HANDLER_CONSUMED;
	*slot = skb;
	nic = rcu_dereference(skb->dev->rx_handler_data);
	if (!netif_running(nic->dev) || !netif_carrier_ok(nic->dev)) {
		kfree_skb(skb);
		return RX_HANDLER_CONSUMED;
	}
	stamp_received(nic, skb);
	skb->dev = nic->dev;
	dev_sw_netstats_rx_add(nic->dev, skb->len);
	/* Judged by the lower device's address; ours may have been changed. */
	if (skb->pkt_type == PACKET_OTHERHOST &&
	    ether_addr_equal(eth_hdr(skb)->h_dest, nic->dev->dev_addr))
		skb->pkt_type = PACKET_HOST;
	return RX_HANDLER_ANOTHER;
}

static int nic_hwtstamp_get(struct net_device *dev, struct kernel_hwtstamp_config *config)
{
	*config = ((struct testnic *)netdev_priv(dev))->config;
	return 0;
}

static int nic_hwtstamp_set(struct net_device *dev, struct kernel_hwtstamp_config *config,
			    struct netlink_ext_ack *extack)
{
	return stamps_configure(netdev_priv(dev), config);
}

static const struct net_device_ops nic_ops = {
	.ndo_open = nic_open,
	.ndo_stop = nic_stop,
	.ndo_start_xmit = nic_xmit,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_hwtstamp_get = nic_hwtstamp_get,
	.ndo_hwtstamp_set = nic_hwtstamp_set,
};

static int nic_get_ts_info(struct net_device *dev, struct kernel_ethtool_ts_info *info)
{
	struct testnic *nic = netdev_priv(dev);

	info->so_timestamping = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE |
				SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_HARDWARE |
				SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE;
	info->phc_index = ptp_clock_index(nic->phc.ptp);
	info->tx_types = BIT(HWTSTAMP_TX_OFF) | BIT(HWTSTAMP_TX_ON);
	info->rx_filters = nic->rx_filters;
	return 0;
}

static void nic_get_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, "testnic", sizeof(info->driver));
}

static const struct ethtool_ops nic_ethtool_ops = {
	.get_drvinfo = nic_get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_ts_info = nic_get_ts_info,
};

static struct net_device *add_card(int index)
{
	struct net_device *dev = alloc_etherdev(sizeof(struct testnic));
	struct testnic *nic;
	int result = -ENODEV;

	if (!dev)
		return ERR_PTR(-ENOMEM);
	nic = netdev_priv(dev);
	nic->dev = dev;
	nic->slots = TESTNIC_SLOTS;
	nic->rx_filters = rx_filters | BIT(HWTSTAMP_FILTER_NONE);
	nic->precise = precise;
	stamps_start(nic);
	nic->lower = dev_get_by_name(&init_net, lower[index]);
	if (!nic->lower)
		goto free;

	strscpy(dev->name, "hw%d", IFNAMSIZ);
	dev->netdev_ops = &nic_ops;
	dev->ethtool_ops = &nic_ethtool_ops;
	dev->pcpu_stat_type = NETDEV_PCPU_STAT_TSTATS;
	dev->priv_flags |= IFF_NO_QUEUE;
	dev->mtu = nic->lower->mtu;
	dev->max_mtu = nic->lower->max_mtu;
	dev->needed_headroom = nic->lower->needed_headroom;
	eth_hw_addr_set(dev, nic->lower->dev_addr);

	result = phc_start(nic, error_ppb[index], offset_ns[index], max_adj);
	if (result)
		goto put;
	rtnl_lock();
	result = register_netdevice(dev);
	if (!result) {
		result = netdev_rx_handler_register(nic->lower, nic_receive, nic);
		if (result)
			unregister_netdevice(dev);
	}
	rtnl_unlock();
	if (result)
		goto stop;
	netif_carrier_on(dev);
	knobs_start(nic);
	netdev_info(dev, "on %s, clock ptp%d\n", lower[index], ptp_clock_index(nic->phc.ptp));
	return dev;

stop:
	phc_stop(nic);
put:
	dev_put(nic->lower);
free:
	free_netdev(dev);
	return ERR_PTR(result);
}

static void remove_card(struct net_device *dev)
{
	struct testnic *nic = netdev_priv(dev);

	knobs_stop(nic);
	rtnl_lock();
	netdev_rx_handler_unregister(nic->lower);
	unregister_netdevice(dev);
	rtnl_unlock();
	stamps_stop(nic);
	phc_stop(nic);
	dev_put(nic->lower);
	free_netdev(dev);
}

static void remove_cards(void)
{
	for (int i = 0; i < CARDS; i++)
		if (devices[i])
			remove_card(devices[i]);
}

static int __init testnic_init(void)
{
	for (int i = 0; i < cards; i++) {
		struct net_device *dev = add_card(i);

		if (IS_ERR(dev)) {
			pr_err("testnic: no card on %s: %ld\n", lower[i], PTR_ERR(dev));
			remove_cards();
			return PTR_ERR(dev);
		}
		devices[i] = dev;
	}
	return cards ? 0 : -EINVAL;
}

static void __exit testnic_exit(void)
{
	remove_cards();
}

module_init(testnic_init);
module_exit(testnic_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("network card for tests, with a PTP clock and hardware stamps");
