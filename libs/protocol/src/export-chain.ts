import { canonicalJson } from "@rspp/base/canonical-json";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import type { StreamId } from "./export-types.ts";

/** The chain value before a stream's first record: binds session, epoch and the predecessor's last exported head. */
export function chainGenesis(stream: StreamId): string {
  return sha256Utf8Hex(canonicalJson(["rspp.chain/v1", stream.session, stream.epoch, stream.predecessorHead]));
}

/** The chain value after a record: an altered, missing or moved record changes every value that follows. */
export function chainNext(chain: string, index: number, digest: string): string {
  return sha256Utf8Hex(`${chain}:${index}:${digest}`);
}

/** One key per (session, epoch). */
export function streamKey(session: string, epoch: number): string {
  return `${epoch}/${session}`;
}
