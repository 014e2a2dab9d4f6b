// SPDX-License-Identifier: GPL-2.0
/* The clock of the test card: an oscillator with an error of its own, and its PTP driver. */

#include <linux/math64.h>
#include <linux/timekeeping.h>

#include "testnic.h"

/* Rates are in 2^-48: finer than anyone can set, and a half still fits. */
#define RATE_SHIFT 48

static s64 scaled(s64 span, s64 rate)
{
	u64 size = mul_u64_u64_shr(abs(span), abs(rate), RATE_SHIFT);

	return (span < 0) == (rate < 0) ? size : -(s64)size;
}

static s64 locked_at(const struct phc *phc, u64 raw)
{
	s64 span = raw - phc->base_raw;

	return phc->base_ns + span + scaled(span, phc->rate);
}

/* Lets the line begin now, so that its rate or height can change; costs less than a nanosecond. */
static void rebase(struct phc *phc)
{
	u64 raw = ktime_get_raw_ns();

	phc->base_ns = locked_at(phc, raw);
	phc->base_raw = raw;
}

static void update_rate(struct phc *phc)
{
	/* A part in 10^9 and 2^-16 of a part in 10^6, both in 2^-48. */
	phc->rate = div_s64((s64)phc->error_ppb << 32, 1000000000) * 65536 +
		    div_s64((s64)phc->scaled_ppm << 32, 1000000);
}

/* What the clock shows at an instant of CLOCK_MONOTONIC_RAW. */
s64 phc_at(struct phc *phc, u64 raw)
{
	unsigned long flags;
	s64 value;

	spin_lock_irqsave(&phc->lock, flags);
	value = locked_at(phc, raw);
	spin_unlock_irqrestore(&phc->lock, flags);
	return value;
}

s64 phc_now(struct phc *phc)
{
	return phc_at(phc, ktime_get_raw_ns());
}

void phc_set_error(struct phc *phc, s32 error_ppb)
{
	unsigned long flags;

	spin_lock_irqsave(&phc->lock, flags);
	rebase(phc);
	phc->error_ppb = error_ppb;
	update_rate(phc);
	spin_unlock_irqrestore(&phc->lock, flags);
}

static struct phc *phc_of(struct ptp_clock_info *info)
{
	return container_of(info, struct phc, info);
}

static int phc_adjfine(struct ptp_clock_info *info, long scaled_ppm)
{
	struct phc *phc = phc_of(info);
	unsigned long flags;

	spin_lock_irqsave(&phc->lock, flags);
	rebase(phc);
	phc->scaled_ppm = scaled_ppm;
	update_rate(phc);
	spin_unlock_irqrestore(&phc->lock, flags);
	return 0;
}

static int phc_adjtime(struct ptp_clock_info *info, s64 delta)
{
	struct phc *phc = phc_of(info);
	unsigned long flags;

	spin_lock_irqsave(&phc->lock, flags);
	phc->base_ns += delta;
	spin_unlock_irqrestore(&phc->lock, flags);
	return 0;
}

static int phc_gettimex64(struct ptp_clock_info *info, struct timespec64 *ts,
			  struct ptp_system_timestamp *sts)
{
	struct phc *phc = phc_of(info);
	unsigned long flags;
	s64 value;

	spin_lock_irqsave(&phc->lock, flags);
	ptp_read_system_prets(sts);
	value = locked_at(phc, ktime_get_raw_ns());
	ptp_read_system_postts(sts);
	spin_unlock_irqrestore(&phc->lock, flags);
	*ts = ns_to_timespec64(value);
	return 0;
}

static int phc_settime64(struct ptp_clock_info *info, const struct timespec64 *ts)
{
	struct phc *phc = phc_of(info);
	unsigned long flags;

	spin_lock_irqsave(&phc->lock, flags);
	phc->base_raw = ktime_get_raw_ns();
	phc->base_ns = timespec64_to_ns(ts);
	spin_unlock_irqrestore(&phc->lock, flags);
	return 0;
}

/* All clocks at one instant: the counter is a line over the system's raw clock. */
static int phc_getcrosststamp(struct ptp_clock_info *info, struct system_device_crosststamp *cross)
{
	struct system_time_snapshot now;

	ktime_get_snapshot(&now);
	cross->device = ns_to_ktime(phc_at(phc_of(info), ktime_to_ns(now.raw)));
	cross->sys_realtime = now.real;
	cross->sys_monoraw = now.raw;
	return 0;
}

/* At a second of this clock; or a little before, or far from it, if it was steered meanwhile. */
static enum hrtimer_restart phc_pulse(struct hrtimer *timer)
{
	struct phc *phc = container_of(timer, struct phc, pulse);
	struct ptp_clock_event event = { .type = PTP_CLOCK_PPS };
	s32 into;
	s64 second = div_s64_rem(phc_now(phc), NSEC_PER_SEC, &into);

	if (second == phc->next_second)
		ptp_clock_event(phc->ptp, &event);
	phc->next_second = second + 1;
	hrtimer_set_expires(timer, ktime_add_ns(ktime_get(), NSEC_PER_SEC - into));
	return HRTIMER_RESTART;
}

/* Pulses for the kernel; and one output, of which it is only known how it would pulse. */
static int phc_enable(struct ptp_clock_info *info, struct ptp_clock_request *request, int on)
{
	struct phc *phc = phc_of(info);
	const struct ptp_clock_time *start = &request->perout.start;
	const struct ptp_clock_time *period = &request->perout.period;

	if (request->type == PTP_CLK_REQ_PPS) {
		hrtimer_cancel(&phc->pulse);
		if (on)
			hrtimer_start(&phc->pulse, 0, HRTIMER_MODE_REL);
		return 0;
	}
	if (request->type != PTP_CLK_REQ_PEROUT || request->perout.flags)
		return -EOPNOTSUPP;
	phc->pulse_start_ns = on ? start->sec * NSEC_PER_SEC + start->nsec : 0;
	phc->pulse_period_ns = on ? period->sec * NSEC_PER_SEC + period->nsec : 0;
	return 0;
}

int phc_start(struct testnic *nic, s32 error_ppb, s64 offset_ns, int max_adj)
{
	struct phc *phc = &nic->phc;

	spin_lock_init(&phc->lock);
	hrtimer_init(&phc->pulse, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	phc->pulse.function = phc_pulse;
	phc->base_raw = ktime_get_raw_ns();
	phc->base_ns = ktime_get_real_ns() + offset_ns;
	phc->error_ppb = error_ppb;
	update_rate(phc);
	phc->info = (struct ptp_clock_info){
		.owner = THIS_MODULE,
		.name = "testnic",
		.max_adj = max_adj,
		.n_per_out = 1,
		.pps = 1,
		.adjfine = phc_adjfine,
		.adjtime = phc_adjtime,
		.gettimex64 = phc_gettimex64,
		.settime64 = phc_settime64,
		.getcrosststamp = nic->precise ? phc_getcrosststamp : NULL,
		.enable = phc_enable,
	};
	phc->ptp = ptp_clock_register(&phc->info, NULL);
	return PTR_ERR_OR_ZERO(phc->ptp);
}

void phc_stop(struct testnic *nic)
{
	hrtimer_cancel(&nic->phc.pulse);
	ptp_clock_unregister(nic->phc.ptp);
}
