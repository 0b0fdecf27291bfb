/** What a vendor's official SDK is asked of the vendor's fake: an answer, an error, a cancel. */
import { expect } from "vitest";
import type { Fake } from "./fake.ts";

/** Polls a condition that a socket's other end brings about. */
export async function closedByClient(fake: Fake, at: number): Promise<void> {
  await expect.poll(() => fake.calls[at]?.closedBy, { interval: 2, timeout: 2_000 }).toBe("client");
}

export const spoken = { reply: "Grüße aus 東京 🚀, good day.", chunkMs: 1 } as const;
export const called = { reply: "", toolCalls: [{ name: "hours", arguments: '{"day":"monday"}' }] };
export const hoursSchema = { type: "object", properties: { day: { type: "string" } } } as const;
