import type { Clock } from "@rspp/ports/clock";
import { EnergyRule, type VadResult } from "./energy.ts";
import { createGateHost, type Gate, vadFrameSamples } from "./gate.ts";
import { loadSilero, type SileroHost, type SileroStream } from "./silero.ts";

export type { VadResult } from "./energy.ts";

export interface VadSession {
  /**
   * Judges one frame: s16le, 16 kHz, mono, 20 ms (640 bytes). Results come in the order of the frames; at once from the
   * energy rule, within a few milliseconds from Silero. The bytes are not kept. Throws RangeError for another length.
   */
  push(frame: Uint8Array, onResult: (result: VadResult) => void): void;
  /** Forgets what was heard; frames still waiting are answered as no speech. */
  reset(): void;
  /** Frees its memory. Idempotent. */
  close(): void;
}

export interface VadHost {
  /** `webrtc-gate+silero` or `webrtc-gate+energy`. */
  readonly name: string;
  openSession(silero?: "auto" | "off"): VadSession;
  close(): Promise<void>;
}

export interface VadOptions {
  /** `auto`: Silero where its optional packages are installed, else the energy rule. */
  silero: "auto" | "off";
  /** Held while Silero works, so that virtual time stands still. */
  clock?: Pick<Clock, "hold">;
}

/** Silero stays awake this long after the gate last opened: 500 ms, longer than pauses within a sentence's words. */
const awakeFrames = 25;
/** Frames heard just before the gate opened, given to Silero first: the sound that opened it began earlier. */
const preRollFrames = 3;
const onsetProbability = 0.5;
const offsetProbability = 0.35;

/** Voice activity in two stages: a cheap gate decides when the second, better one is asked. */
export async function createVadHost(options: VadOptions): Promise<VadHost> {
  const gates = await createGateHost();
  const hold = options.clock ? () => options.clock?.hold() ?? (() => {}) : undefined;
  const silero = options.silero === "auto" ? await loadSilero(hold ? { hold } : {}) : undefined;
  return {
    name: silero ? "webrtc-gate+silero" : "webrtc-gate+energy",
    openSession: (wanted) =>
      silero && wanted !== "off" ? new SileroSession(gates.open(), silero) : new EnergySession(gates.open()),
    close: async () => silero?.close(),
  };
}

function samplesOf(frame: Uint8Array): Int16Array {
  if (frame.length !== vadFrameSamples * 2) {
    throw new RangeError(`a VAD frame has ${vadFrameSamples * 2} bytes, found ${frame.length}`);
  }
  if (frame.byteOffset % 2 === 0) return new Int16Array(frame.buffer, frame.byteOffset, vadFrameSamples);
  return new Int16Array(new Uint8Array(frame).buffer);
}

class EnergySession implements VadSession {
  readonly #gate: Gate;
  readonly #rule = new EnergyRule();

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  push(frame: Uint8Array, onResult: (result: VadResult) => void): void {
    const samples = samplesOf(frame);
    onResult(this.#rule.decide(samples, this.#gate.process(samples)));
  }

  reset(): void {
    this.#gate.reset();
    this.#rule.reset();
  }

  close(): void {
    this.#gate.close();
  }
}

interface Waiting {
  onResult: (result: VadResult) => void;
  result: VadResult | undefined;
}

class SileroSession implements VadSession {
  readonly #gate: Gate;
  readonly #host: SileroHost;
  readonly #stream: SileroStream;
  /** Takes over should the engine fail. */
  readonly #rule = new EnergyRule();
  readonly #preRoll: Int16Array[] = [];
  #waiting: Waiting[] = [];
  #awake = 0;
  #speech = false;

  constructor(gate: Gate, host: SileroHost) {
    this.#gate = gate;
    this.#host = host;
    this.#stream = host.open();
  }

  push(frame: Uint8Array, onResult: (result: VadResult) => void): void {
    const samples = samplesOf(frame);
    const open = this.#gate.process(samples);
    const entry: Waiting = { onResult, result: undefined };
    this.#waiting.push(entry);
    if (this.#host.failed) {
      entry.result = this.#rule.decide(samples, open);
    } else if (!this.#isAwake(open)) {
      this.#speech = false;
      this.#remember(samples);
      entry.result = { speech: false, probability: 0 };
    } else {
      for (const earlier of this.#preRoll.splice(0)) this.#stream.push(earlier, () => {});
      this.#stream.push(samples, (probability) => {
        entry.result = this.#judge(probability);
        this.#deliver();
      });
    }
    this.#deliver();
  }

  reset(): void {
    this.#stream.reset();
    this.#gate.reset();
    this.#rule.reset();
    this.#preRoll.length = 0;
    this.#awake = 0;
    this.#speech = false;
  }

  close(): void {
    this.#stream.reset();
    this.#gate.close();
  }

  #isAwake(open: boolean): boolean {
    if (open) {
      // A sleep of its own length ends one utterance's context for the model.
      if (this.#awake === 0) this.#stream.reset();
      this.#awake = awakeFrames;
    } else if (this.#awake > 0) {
      this.#awake--;
    }
    return this.#awake > 0;
  }

  #remember(samples: Int16Array): void {
    this.#preRoll.push(samples.slice());
    if (this.#preRoll.length > preRollFrames) this.#preRoll.shift();
  }

  #judge(probability: number): VadResult {
    this.#speech = probability >= (this.#speech ? offsetProbability : onsetProbability);
    return { speech: this.#speech, probability };
  }

  #deliver(): void {
    while (this.#waiting[0]?.result !== undefined) {
      const entry = this.#waiting.shift();
      if (entry?.result) entry.onResult(entry.result);
    }
  }
}
