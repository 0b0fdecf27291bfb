import { type Digest, digestCreate, digestHex } from "@rspp/base/digest";
import { type Ring, ringAt, ringCreate, ringPush, ringShift } from "@rspp/base/ring";
import type { SignalEvent } from "@rspp/kernel/effect";
import type { Batch } from "@rspp/kernel/input";
import { graphTakesDigits, withoutDigits } from "@rspp/kernel/keypad";
import type { Fact } from "@rspp/kernel/pure-functions";
import type { JournalEntry } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { KernelPort, KernelStep } from "./kernel-port.ts";
import { limits } from "./limits.ts";
import { encodeEntry } from "./spool/journal-codec.ts";
import type { Spool, StreamId } from "./spool/spool.ts";

type Recorded = Pick<SessionConfig, "recording" | "graph">;

/** What a session's recording level asks for beside its evidence (`kernel.md` §11): signals, journal, payloads. */
export class SessionJournal {
  /** As the kernel last moved it. */
  level: string;
  /** Entries lost because the journal in memory was full. */
  dropped = 0;
  private readonly kernel: KernelPort;
  private readonly spool: Spool;
  private readonly stream: StreamId;
  private readonly keep: boolean;
  private above: boolean;
  private readonly digest: Digest = digestCreate();
  private readonly entries: Ring<JournalEntry> = ringCreate(limits.JOURNAL_ENTRIES_MAX);

  /** Keyed-in digits are the caller's words: a journal without payloads holds none. */
  private readonly masks: boolean;

  /** @param keep whole journal in memory too, at any level. */
  constructor(kernel: KernelPort, spool: Spool, stream: StreamId, { recording, graph }: Recorded, keep: boolean) {
    const { ceiling } = recording;
    this.kernel = kernel;
    this.spool = spool;
    this.stream = stream;
    this.level = ceiling;
    this.keep = keep;
    this.masks = graphTakesDigits(graph);
    this.above = ceiling !== "L0";
  }

  /** Once anything above L0 was to be kept, digests go on, whatever the level is now. */
  private wanted(): boolean {
    this.above ||= this.level !== "L0";
    return this.keep || this.above;
  }

  /** Call after the step and before its effects are carried out. */
  take(batch: Batch, result: KernelStep): void {
    if (!this.wanted()) return;
    this.kernel.digest(this.digest, result.effects);
    const recorded = this.level !== "L0";
    if (!recorded && !this.keep) return;
    const digest = digestHex(this.digest);
    if (recorded) this.spool.journal(this.stream, this.kept(batch), result.facts, digest);
    if (this.keep) this.remember({ batch, facts: result.facts, digest });
  }

  /** The batch that broke the kernel, with what it had been answered: enough to break it again (`kernel.md` §1). */
  broken(batch: Batch, facts: readonly Fact[], fault: string): void {
    if (!this.wanted()) return;
    const entry: JournalEntry = { batch, facts: [...facts], digest: "", fault };
    if (this.level !== "L0")
      this.spool.line(this.stream, "journal", encodeEntry({ ...entry, batch: this.kept(batch) }));
    if (this.keep) this.remember(entry);
  }

  private kept(batch: Batch): Batch {
    return this.masks && this.level !== "L2" ? withoutDigits(batch) : batch;
  }

  signal(event: SignalEvent): void {
    this.spool.line(this.stream, "signal", JSON.stringify(event));
  }

  payload(ref: number, content: Uint8Array | string): void {
    if (this.level !== "L2") return;
    const text = typeof content === "string";
    const line = text ? { ref, text: content } : { ref, base64: Buffer.from(content).toString("base64") };
    this.spool.line(this.stream, "payload", JSON.stringify(line));
  }

  private remember(entry: JournalEntry): void {
    if (this.entries.size >= this.entries.capacity) {
      ringShift(this.entries);
      this.dropped += 1;
    }
    ringPush(this.entries, entry);
  }

  size(): number {
    return this.entries.size;
  }

  list(): JournalEntry[] {
    const list: JournalEntry[] = [];
    for (let i = 0; i < this.entries.size; i++) list.push(ringAt(this.entries, i) as JournalEntry);
    return list;
  }
}
