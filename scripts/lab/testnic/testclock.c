// SPDX-License-Identifier: GPL-2.0
/*
 * A clock source for tests: the processor's counter, taken for faster or slower than it is. So the
 * system clock of a guest, CLOCK_MONOTONIC_RAW as well, runs on an oscillator of its own, and what
 * the counter shows tells exactly how far off it is.
 *
 *   insmod testclock.ko khz=2400000 error_ppb=50000
 *
 * khz is what the counter really does; error_ppb is what the clock gains by that.
 */

#include <linux/clocksource.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <asm/tsc.h>

static ulong khz;
module_param(khz, ulong, 0444);
MODULE_PARM_DESC(khz, "the counter's true frequency");

static int error_ppb;
module_param(error_ppb, int, 0444);
MODULE_PARM_DESC(error_ppb, "what the clock gains");

static u64 testclock_read(struct clocksource *source)
{
	return rdtsc_ordered();
}

static struct clocksource testclock = {
	.name = "testclock",
	/* Above all others, so that it is chosen at once. */
	.rating = 500,
	.read = testclock_read,
	.mask = CLOCKSOURCE_MASK(64),
	.flags = CLOCK_SOURCE_IS_CONTINUOUS | CLOCK_SOURCE_VALID_FOR_HRES,
	.vdso_clock_mode = VDSO_CLOCKMODE_TSC,
	.owner = THIS_MODULE,
};

static int __init testclock_init(void)
{
	/* Whoever counts on fewer ticks for a second gains. In Hz, for 0.5 ppb at 2 GHz. */
	s64 hz = (s64)khz * 1000;

	if (!khz)
		return -EINVAL;
	hz -= div_s64(div_s64(hz * (error_ppb / 10), 1000) + 50000, 100000);
	return clocksource_register_hz(&testclock, hz);
}

static void __exit testclock_exit(void)
{
	clocksource_unregister(&testclock);
}

module_init(testclock_init);
module_exit(testclock_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("the processor's counter as a clock source with an error");
