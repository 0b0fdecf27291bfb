/** Frames too large for one event of a link (libs/protocol): sent in parts and put together before anyone hears them. */
import { invariant } from "@rspp/base/invariant";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import type { TransportEgress } from "@rspp/ports/transport";
import { limits } from "./link-limits.ts";

type Media = Extract<TransportEgress, { kind: "media" }>;

/** Which part of how many a media event is. */
export interface Part {
  readonly index: number;
  readonly count: number;
}

const PART_ID = /^p-(\d{1,16})-(\d{1,3})-(\d{1,3})$/;

export function isLarge({ bytes, durationUs }: Media): boolean {
  return bytes.byteLength > limits.LINK_PART_BYTES || durationUs > limits.LINK_PART_AUDIO_US;
}

/** The frame cut into parts with ids of their own; null when it is larger than may be. */
export function partsOf(media: Media): { media: Media; eventId: string }[] | null {
  const { bytes, durationUs, offsetUs, sequence, end } = media;
  const count = Math.max(
    Math.ceil(bytes.byteLength / limits.LINK_PART_BYTES),
    Math.ceil(durationUs / limits.LINK_PART_AUDIO_US),
  );
  if (count > limits.LINK_PARTS_MAX) return null;
  return Array.from({ length: count }, (_, i) => {
    const at = (total: number, n: number): number => Math.floor((total * n) / count);
    const part = {
      ...media,
      offsetUs: offsetUs + at(durationUs, i),
      durationUs: at(durationUs, i + 1) - at(durationUs, i),
      bytes: bytes.subarray(at(bytes.byteLength, i), at(bytes.byteLength, i + 1)),
      end: end && i === count - 1,
    };
    return { media: part, eventId: `p-${sequence}-${i}-${count}` };
  });
}

/** The frame number and the part behind an event id; null for a whole frame. */
export function partIn({ eventId }: Envelope): { sequence: number; part: Part } | null {
  const found = PART_ID.exec(eventId);
  if (found === null) return null;
  const [sequence, index, count] = [Number(found[1]), Number(found[2]), Number(found[3])];
  const legal = Number.isSafeInteger(sequence) && index < count && count <= limits.LINK_PARTS_MAX;
  return legal ? { sequence, part: { index, count } } : null;
}

/** Puts the parts of one frame together; one that misses a part is lost as a whole. */
export class PartJoiner {
  #parts: Media[] = [];

  /** The whole frame with its last part, else null. */
  take(media: Media, { index, count }: Part): Media | null {
    const last = this.#parts.at(-1);
    const follows =
      last === undefined
        ? index === 0
        : index === this.#parts.length && last.turn === media.turn && last.sequence === media.sequence;
    if (!follows) this.#parts = [];
    if (follows || index === 0) this.#parts.push(media);
    if (this.#parts.length < count) return null;
    const parts = this.#parts;
    this.#parts = [];
    return joined(parts);
  }
}

function joined(parts: readonly Media[]): Media {
  const [first] = parts;
  invariant(first !== undefined, "a frame has a part");
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.bytes.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part.bytes, at);
    at += part.bytes.byteLength;
  }
  const durationUs = parts.reduce((sum, part) => sum + part.durationUs, 0);
  return { ...first, bytes, durationUs, end: parts.at(-1)?.end ?? false };
}
