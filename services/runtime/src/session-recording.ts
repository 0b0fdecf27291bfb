/** How a session is recorded while it runs: what presses on it, and what an operator captures of it (kernel.md §11). */
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import type { InputBody } from "@rspp/kernel/input";
import { RECORDING_L1_FILL, RECORDING_L1_LAG_MS } from "@rspp/kernel/limits";
import type { RecordingLevel } from "@rspp/kernel/recording";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import { createKeyedHash } from "./keyed-hash.ts";
import { limits } from "./limits.ts";
import type { PayloadStoreOptions } from "./payload-store.ts";
import type { SessionJournal } from "./session-journal.ts";
import type { Spool, SpoolMeasures, StreamId } from "./spool/spool.ts";

export interface CaptureRequest {
  /** L0: no capture any longer. */
  readonly level: RecordingLevel;
  /** Milliseconds from now. */
  readonly forMs: number;
}

/** A capture that was taken in. */
export interface Capture {
  /** As plans and markers name it; "" where there is none any longer. */
  readonly policyId: string;
  readonly level: RecordingLevel;
  readonly untilWallMs: number;
}

export interface RecordingParts {
  readonly clock: Clock;
  readonly spool: Spool;
  readonly tenantKey: (tenantId: string) => Uint8Array;
}

/** One session's; `submit` gives the kernel its inputs. */
export class SessionRecording {
  readonly #config: SessionConfig;
  readonly #parts: RecordingParts;
  readonly #stream: StreamId;
  readonly #journal: SessionJournal;
  readonly #submit: (body: InputBody) => void;
  #hash: ((content: Uint8Array | string) => string) | null = null;
  #pressed = false;
  #captured = false;
  #captures = 0;
  #expiry: TimerHandle | null = null;

  constructor(
    config: SessionConfig,
    parts: RecordingParts,
    stream: StreamId,
    journal: SessionJournal,
    submit: (body: InputBody) => void,
  ) {
    this.#config = config;
    this.#parts = parts;
    this.#stream = stream;
    this.#journal = journal;
    this.#submit = submit;
    if (config.recording.ceiling !== "L0") this.#wantHashes();
  }

  /** Hashes are keyed per tenant, and none is made where nothing above L0 is kept. */
  payloadOptions(): Required<Pick<PayloadStoreOptions, "hash" | "onPut">> {
    return {
      hash: (content) => this.#hash?.(content) ?? "",
      onPut: (ref, content) => this.#journal.payload(ref, content),
    };
  }

  /** A report of the spool; passed on while there is pressure, and once when it is over. */
  pressure(measures: SpoolMeasures): void {
    if (this.#config.recording.ceiling === "L0" && !this.#captured) return;
    const pressed = measures.fill >= RECORDING_L1_FILL || measures.lagMs >= RECORDING_L1_LAG_MS;
    if (!pressed && !this.#pressed) return;
    this.#report(measures, pressed);
  }

  /**
   * F-076: this session alone, until its time is over; a capture replaces the one before it. It ends with the session, and
   * with its life in this process: a successor records by the session's own policy.
   */
  capture({ level, forMs }: CaptureRequest): Result<Capture, string> {
    const { clock, spool } = this.#parts;
    const least = limits.CAPTURE_MIN_MS;
    const fits = Number.isInteger(forMs) && forMs >= least && forMs <= limits.CAPTURE_MAX_MS;
    if (level !== "L0" && !fits) return err(`give from ${least} to ${limits.CAPTURE_MAX_MS} milliseconds`);
    this.#expiry?.clear();
    this.#expiry = null;
    if (level === "L0") {
      this.#end(false);
      return ok({ policyId: "", level, untilWallMs: Math.round(clock.wallMs()) });
    }
    this.#captures += 1;
    const policyId = `capture/${this.#captures}`;
    const untilWallMs = Math.round(clock.wallMs()) + forMs;
    spool.marker(this.#stream, "capture", { policy_id: policyId, level, until_wall_ms: String(untilWallMs) });
    this.#captured = true;
    this.#wantHashes();
    const now = spool.measures();
    this.#report(now, now.fill >= RECORDING_L1_FILL || now.lagMs >= RECORDING_L1_LAG_MS);
    this.#submit({ type: "recording_capture", policyId, level, expired: false });
    this.#expiry = clock.timerAt(asMonoNs(clock.nowNs() + msToNs(forMs)), () => this.#end(true));
    return ok({ policyId, level, untilWallMs });
  }

  close(): void {
    this.#expiry?.clear();
    this.#expiry = null;
  }

  #end(expired: boolean): void {
    if (!this.#captured) return;
    this.#captured = false;
    this.#submit({ type: "recording_capture", policyId: "", level: "", expired });
  }

  #report({ fill, lagMs }: SpoolMeasures, pressed: boolean): void {
    this.#pressed = pressed;
    this.#submit({ type: "recording_pressure", fill: Math.round(fill * 1_000) / 1_000, lagMs: Math.round(lagMs) });
  }

  #wantHashes(): void {
    this.#hash ??= createKeyedHash(this.#parts.tenantKey(this.#config.tenantId));
  }
}
