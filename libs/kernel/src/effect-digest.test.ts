import { digestCreate, digestHex } from "@rspp/base/digest";
import { expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import { digestEffects } from "./effect-digest.ts";

function digestOf(...effects: Effect[]): string {
  const d = digestCreate();
  digestEffects(d, effects);
  return digestHex(d);
}

const payload = { ref: 7, hash: "0123456789abcdef", bytes: 640 };
const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 };
const SAMPLES: Effect[] = [
  {
    type: "egress_media",
    epoch: 1,
    turn: 2,
    generation: 3,
    sequence: 4,
    offsetUs: 5,
    durationUs: 6,
    format,
    payload,
    end: false,
  },
  { type: "node_event", command: 1, node: "vad", payload, format, mediaUs: 2, durationUs: 3 },
  { type: "provider_push_audio", invocation: 1, payload, format, durationUs: 2 },
  { type: "egress_fence", epoch: 1, turn: 2, generation: 3, all: false, reason: "cancelled" },
  { type: "timer_set", id: "a", atNs: 5 as never },
  { type: "release", refs: [1, 2] },
];

/** Every value that differs from `value` in one leaf. */
function variants(value: unknown): unknown[] {
  if (typeof value === "number") return [value + 1];
  if (typeof value === "string") return [`${value}x`];
  if (typeof value === "boolean") return [!value];
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, item]) =>
    key === "type"
      ? []
      : variants(item).map((other) =>
          Array.isArray(value)
            ? value.map((v, i) => (String(i) === key ? other : v))
            : { ...(value as Record<string, unknown>), [key]: other },
        ),
  );
}

test.each(SAMPLES.map((effect) => [effect.type, effect] as const))(
  "NF-009 %s: another value in any field, handles included, is another digest",
  (_type, effect) => {
    const found = variants(effect).map((other) => digestOf(other as Effect));
    expect(found.length).toBeGreaterThan(0);
    expect(found).not.toContain(digestOf(effect));
    expect(new Set(found).size).toBe(found.length);
  },
);

test("NF-009 order, number and key order: the first two count, the last does not", () => {
  const [a, b] = SAMPLES as [Effect, Effect];
  expect(digestOf(a, b)).not.toBe(digestOf(b, a));
  expect(digestOf(a)).not.toBe(digestOf(a, a));
  for (const effect of SAMPLES) {
    expect(digestOf(Object.fromEntries(Object.entries(effect).reverse()) as unknown as Effect)).toBe(digestOf(effect));
  }
  const empty = { ...(a as Extract<Effect, { type: "egress_media" }>), payload: null, format: null };
  expect(digestOf(empty)).not.toBe(digestOf(a));
});
