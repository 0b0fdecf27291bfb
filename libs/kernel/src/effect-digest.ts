/** A rolling digest over effects: what a replay must reproduce (`kernel.md` §12). */
import { type Digest, digestNumber, digestString } from "@rspp/base/digest";
import type { Effect } from "./effect.ts";

export function digestEffects(d: Digest, effects: readonly Effect[]): void {
  digestNumber(d, effects.length);
  for (const effect of effects) {
    if (effect.type === "egress_media") {
      digestString(d, "egress_media");
      digestNumber(d, effect.epoch);
      digestNumber(d, effect.turn);
      digestNumber(d, effect.generation);
      digestNumber(d, effect.sequence);
      digestNumber(d, effect.offsetUs);
      digestNumber(d, effect.durationUs);
      digestNumber(d, effect.payload?.ref ?? 0);
      digestNumber(d, effect.end ? 1 : 0);
    } else if (effect.type === "node_event") {
      digestString(d, "node_event");
      digestNumber(d, effect.command);
      digestString(d, effect.node);
      digestNumber(d, effect.payload.ref);
      digestNumber(d, effect.mediaUs);
    } else if (effect.type === "provider_push_audio") {
      digestString(d, "provider_push_audio");
      digestNumber(d, effect.invocation);
      digestNumber(d, effect.payload.ref);
      digestNumber(d, effect.durationUs);
    } else {
      digestValue(d, effect);
    }
  }
}

/** Any plain value, by structure; keys sorted, since a restored state may hold them in another order. */
function digestValue(d: Digest, value: unknown): void {
  if (typeof value === "number") digestNumber(d, value);
  else if (typeof value === "string") digestString(d, value);
  else if (typeof value === "boolean") digestNumber(d, value ? 1 : 0);
  else if (value === null || value === undefined) digestString(d, "null");
  else if (Array.isArray(value)) {
    digestNumber(d, value.length);
    for (const item of value) digestValue(d, item);
  } else {
    const fields = value as Record<string, unknown>;
    for (const key of Object.keys(fields).sort()) {
      const item = fields[key];
      if (item === undefined) continue;
      digestString(d, key);
      digestValue(d, item);
    }
  }
}
