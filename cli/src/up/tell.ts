/** What `rspp up` says: a line for each service that is ready, and last how to talk to the platform. */
import type { ReadyLine } from "@rspp/host/start";
import type { UpOptions } from "./plan.ts";

export interface PlatformReady {
  readonly registry: string;
  /** `ws://…/v1/session`. */
  readonly websocket: string;
  readonly published: readonly string[];
  /** From the start of this process, milliseconds. */
  readonly readyMs: number;
}

export const localTenant = "local";

export function tellService(line: ReadyLine, { json }: Pick<UpOptions, "json">): void {
  process.stdout.write(json ? `${JSON.stringify(line)}\n` : `${line.message}\n`);
}

export function tellPlatform(platform: PlatformReady, options: UpOptions): void {
  const { registry, websocket, published, readyMs } = platform;
  const elsewhere = registry === "http://127.0.0.1:7101" ? "" : ` --registry ${registry}`;
  const reference = process.env.RSPP_SERVICE_TOKEN ?? "";
  const where = `${elsewhere}${reference === "" ? "" : ` --token ${reference}`}`;
  const talk = `npx rspp talk voice-assistant --wav question.wav${where}`;
  const message = `rspp is ready after ${(readyMs / 1000).toFixed(2)} s. Talk to it: ${talk}; WebSocket ${websocket} with a token of \`npx rspp route voice-assistant${where}\`. Ctrl-C stops it.`;
  if (options.json) {
    const { processes, data } = options;
    const fields = { ready: true, service: "platform", registry, websocket, published, data, processes };
    const line = { ...fields, ready_ms: Math.round(readyMs), talk, pid: process.pid, message };
    process.stdout.write(`${JSON.stringify(line)}\n`);
    return;
  }
  if (published.length > 0) {
    process.stdout.write(`published for tenant ${localTenant}, since the store was empty: ${published.join(", ")}\n`);
  }
  process.stdout.write(`${message}\n`);
}

/** Asides, for people. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
