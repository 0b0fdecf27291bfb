import { hash } from "node:crypto";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { recordContent } from "@rspp/wire/timeline-chain";

/** SHA-256 by the platform's own code: many times as fast as that of `libs/base`, which is the same everywhere. */
export function nativeSha256(bytes: Uint8Array): Uint8Array {
  // A plain array, not Node's: what a record holds goes on to others.
  return new Uint8Array(hash("sha256", bytes, "buffer"));
}

/** As `recordDigest` of `libs/wire`, for a record that is not erased. */
export function contentDigest(previous: Uint8Array, record: TimelineRecord): Uint8Array {
  const body = nativeSha256(recordContent(record));
  const joined = new Uint8Array(previous.length + body.length);
  joined.set(previous, 0);
  joined.set(body, previous.length);
  return nativeSha256(joined);
}
