/** Every benchmark there is, in the order they are run. */
import type { Bench } from "./bench.ts";
import { p1 } from "./p1-frame.ts";
import { p6Kernel } from "./p6-kernel.ts";

export const BENCHES: readonly Bench[] = [p1, p6Kernel];
