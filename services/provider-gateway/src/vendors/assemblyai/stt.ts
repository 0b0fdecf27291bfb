import type { ManagedProvider } from "../../attempt.ts";
import { type Asked, createRecogniser } from "../stt/provider.ts";
import { recogniserSpecs } from "../stt/settings.ts";
import type { VendorAccess } from "../vendor.ts";
import { AssemblyAiLine } from "./live.ts";
import { transcribeUploaded } from "./uploaded.ts";

export const assemblyAiSpecs = {
  ...recogniserSpecs,
  /** Empty: Universal Streaming, English or multilingual by the language; recorded `universal`. */
  model: { type: "string", default: "" },
  /** Punctuation and capitals; a live final waits for them. */
  format_turns: { type: "boolean", default: false },
  /** Between questions whether a recording is transcribed. */
  poll_ms: { type: "number", default: 300, min: 1, max: 60_000 },
} as const;

export type AssemblyAiAsked = Asked<typeof assemblyAiSpecs>;

/** `assemblyai/stt`: Universal Streaming over a plain WebSocket, recorded by upload and polling. */
export function createAssemblyAiStt(access: VendorAccess): ManagedProvider {
  return createRecogniser(access, {
    name: "assemblyai/stt",
    specs: assemblyAiSpecs,
    live: {
      // The endpoint refuses messages of less than 50 ms and of more than a second.
      shape: { minMs: 60, maxMs: 500, keepAliveMs: 10_000 },
      connect: (asked, events) => new AssemblyAiLine(asked, events),
    },
    gathered: transcribeUploaded,
  });
}
