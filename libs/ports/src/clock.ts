/**
 * The shell's clock (`kernel.md` §10). Production wraps the operating system's monotonic clock; demos in
 * as-fast-as-possible mode, tests and the simulator use a virtual one. Nothing else reads time.
 */
import type { MonoNs, WallMs } from "@rspp/base/brand";

export interface TimerHandle {
  /** Idempotent; a cleared timer never fires. */
  clear(): void;
}

export interface Clock {
  /** Monotonic instant in nanoseconds since this clock's origin; never goes back. */
  nowNs(): MonoNs;
  /** Wall time in milliseconds since the Unix epoch; for correlation only. */
  wallMs(): WallMs;
  /** Calls `fire` once at or after `atNs`. */
  timerAt(atNs: MonoNs, fire: () => void): TimerHandle;
  /**
   * Tells a virtual clock that real work (a child process, a synthesiser) is under way, so that virtual time
   * stands still until the returned function is called. A real clock does nothing.
   */
  hold(): () => void;
}
