import type { TraceEvent } from "../trace.ts";
import { BaseChecker } from "./checker.ts";

/** The link's own initial credit, before any receipt (`libs/protocol` limits). */
const initialAudioUs = 1_000_000;
const initialBytes = 131_072;

/** No sender of the link goes past the credit that has reached it, in audio or bytes, and credit never shrinks. */
export class CreditChecker extends BaseChecker {
  readonly name = "credit";
  readonly #granted = new Map<string, { audioUs: number; bytes: number }>();

  see(event: TraceEvent): void {
    if (event.kind !== "link_credit") return;
    const known = this.#granted.get(event.binding) ?? { audioUs: initialAudioUs, bytes: initialBytes };
    const { audioUs, bytes } = event;
    if (event.what === "granted") {
      this.#granted.set(event.binding, {
        audioUs: Math.max(known.audioUs, audioUs),
        bytes: Math.max(known.bytes, bytes),
      });
    } else if (audioUs > known.audioUs || bytes > known.bytes)
      this.fail(`${event.binding}: sent ${audioUs} us and ${bytes} bytes of ${known.audioUs} and ${known.bytes}`);
  }
}
