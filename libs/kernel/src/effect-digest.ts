/** A rolling digest over effects: what a replay must reproduce (`kernel.md` §12). */
import { type Digest, digestNumber, digestString } from "@rspp/base/digest";
import type { Effect } from "./effect.ts";
import type { AudioFormat, PayloadHandle } from "./event.ts";

/** The three effects of every frame are written out; all fields count, as they do for the others. */
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
      digestNumber(d, effect.end ? 1 : 0);
      digestAudio(d, effect.payload, effect.format);
    } else if (effect.type === "node_event") {
      digestString(d, "node_event");
      digestNumber(d, effect.command);
      digestString(d, effect.node);
      digestNumber(d, effect.mediaUs);
      digestNumber(d, effect.durationUs);
      digestAudio(d, effect.payload, effect.format);
    } else if (effect.type === "release_input") {
      digestString(d, "release_input");
      digestNumber(d, effect.below);
    } else if (effect.type === "provider_push_audio") {
      digestString(d, "provider_push_audio");
      digestNumber(d, effect.invocation);
      digestNumber(d, effect.durationUs);
      digestAudio(d, effect.payload, effect.format);
    } else {
      digestValue(d, effect);
    }
  }
}

/** Handle and format: at L1 "identical" means identical over handles (`kernel.md` §12). */
function digestAudio(d: Digest, payload: PayloadHandle | null, format: AudioFormat | null): void {
  digestNumber(d, payload === null ? 0 : payload.ref);
  digestNumber(d, payload === null ? -1 : payload.bytes);
  if (payload !== null) digestString(d, payload.hash);
  digestNumber(d, format === null ? 0 : format.rateHz);
  digestNumber(d, format === null ? 0 : format.channels);
  if (format !== null) digestString(d, format.codec);
}

/** Any plain value, by structure; keys sorted, since a restored state may hold them in another order. */
export function digestValue(d: Digest, value: unknown): void {
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
