/** An exported audit log: JSON lines, a head first, then records in order, then where the chain ends (F-170). */
import { ChainCheck, type ChainFault, type ChainLink } from "./audit-chain.ts";
import type { AuditHead } from "./audit-store.ts";

export const auditFormat = "rspp-audit/1";
const lineCharsMax = 131_072;

export function headLine(fromId: number): string {
  return JSON.stringify({ format: auditFormat, from_id: fromId });
}

export function recordLine({ id, previous, digest, row }: ChainLink): string {
  return JSON.stringify({ id, previous: hex(previous), digest: hex(digest), row });
}

export function endLine(head: AuditHead): string {
  return JSON.stringify({ end: true, head_id: head.id, head_digest: hex(head.digest) });
}

export interface FileVerdict {
  readonly records: number;
  readonly head: AuditHead;
  readonly faults: readonly ChainFault[];
}

/** Checks lines of a file as they come. A line that is none is a fault by itself, never an exception. */
export async function verifyAuditFile(lines: AsyncIterable<string>, anchor: AuditHead | null): Promise<FileVerdict> {
  let check: ChainCheck | null = null;
  let end: AuditHead | null = null;
  let number = 0;
  const bad: ChainFault[] = [];
  const fault = (what: string): void => void (bad.length < 256 && bad.push({ id: 0, kind: "edited", what }));
  for await (const line of lines) {
    number++;
    if (line.trim() === "") continue;
    const found = line.length > lineCharsMax ? null : readLine(line);
    if (found === null) fault(`line ${number} is no line of an export`);
    else if (found.kind === "head") {
      if (check !== null) fault(`line ${number} begins the file a second time`);
      // A part of a chain has something before it that is not here.
      check ??= new ChainCheck(found.fromId <= 1 ? undefined : null, anchor);
    } else if (check === null) fault(`line ${number} stands before the file's head`);
    else if (end !== null) fault(`line ${number} stands after the end of the file`);
    else if (found.kind === "end") end = found.head;
    else check.feed(found.link);
  }
  if (check === null) return { records: 0, head: zero, faults: [...bad, { id: 0, kind: "head", what: noHead }] };
  if (end === null) {
    const cut = {
      id: check.end.id + 1,
      kind: "removed",
      what: "the file has no end: records are missing there",
    } as const;
    return { records: check.count, head: check.end, faults: [...bad, ...check.faults, cut] };
  }
  return { records: check.count, head: end, faults: [...bad, ...check.finish(end)] };
}

const zero: AuditHead = { id: 0, digest: new Uint8Array(32) };
const noHead = `the file does not begin with {"format":"${auditFormat}"}`;

type Line =
  | { readonly kind: "head"; readonly fromId: number }
  | { readonly kind: "record"; readonly link: ChainLink }
  | { readonly kind: "end"; readonly head: AuditHead };

function readLine(line: string): Line | null {
  try {
    const found = JSON.parse(line) as Record<string, unknown>;
    if (found.format === auditFormat) return { kind: "head", fromId: Number(found.from_id) };
    if (found.end === true)
      return { kind: "end", head: { id: whole(found.head_id), digest: bytes(found.head_digest) } };
    const { row } = found;
    if (typeof row !== "string") return null;
    const link = { id: whole(found.id), previous: bytes(found.previous), digest: bytes(found.digest), row };
    return { kind: "record", link };
  } catch {
    return null;
  }
}

function whole(value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new TypeError("no id");
}

function bytes(value: unknown): Uint8Array {
  if (typeof value === "string" && /^[0-9a-f]{64}$/.test(value)) return new Uint8Array(Buffer.from(value, "hex"));
  throw new TypeError("no digest");
}

export function hex(digest: Uint8Array): string {
  return Buffer.from(digest).toString("hex");
}
