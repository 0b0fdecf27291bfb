/** Which pipeline answers which number. */
import { err, ok, type Result } from "@rspp/base/result";
import { limits } from "./limits.ts";

export interface Destination {
  readonly tenant: string;
  readonly pipeline: string;
  /** 0: by rollout, else the newest. */
  readonly version: number;
}

/** By dialled number; `*` for every other one. */
export type Numbers = ReadonlyMap<string, Destination>;

const ENTRY = /^(\*|\+?[0-9A-Za-z:@._-]{1,128})=([\w.-]{1,64})\/([a-z][a-z0-9_-]{0,63})(?:@(\d{1,9}))?$/;

/** `+15550100=acme/phone-menu@3, *=acme/voice-assistant`; the entry that is none. */
export function parseNumbers(text: string): Result<Numbers, string> {
  const entries = text.split(",").flatMap((entry) => entry.trim() || []);
  if (entries.length > limits.NUMBERS_MAX) return err(`more than ${limits.NUMBERS_MAX} entries`);
  const numbers = new Map<string, Destination>();
  for (const entry of entries) {
    const [, number, tenant, pipeline, version = "0"] = ENTRY.exec(entry) ?? [];
    if (number === undefined || tenant === undefined || pipeline === undefined) return err(entry.slice(0, 100));
    numbers.set(number, { tenant, pipeline, version: Number(version) });
  }
  return ok(numbers);
}

export function destinationOf(numbers: Numbers, dialled: string): Destination | undefined {
  return numbers.get(dialled) ?? numbers.get("*");
}
