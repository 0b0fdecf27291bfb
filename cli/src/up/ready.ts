import { note } from "./tell.ts";

const lookMs = 10;
const readyWithinMs = 10_000;

/** Each service is up; now they are to know of one another, so that the next call is served. */
export async function untilReady(ready: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + readyWithinMs;
  while (!(await ready())) {
    if (performance.now() > endMs) return note("not all services are ready: /readyz of each tells what it misses");
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
}
