import { setFlagsFromString } from "node:v8";

/**
 * Keeps what is short-lived young. V8 learns from a burst, such as many calls that open at once, that what a line of code
 * makes lives long, and from then on makes it old; in a process that lives for days all of that is garbage which only a
 * long pause takes away. Measured with 400 calls: 1,000 bytes a frame, and a third of the time of each small collection.
 */
export function tuneCollector(): void {
  setFlagsFromString("--no-allocation-site-pretenuring");
}
