import createFvad from "@echogarden/fvad-wasm";

/** The part of the Emscripten module used here. */
interface FvadModule {
  HEAP16: Int16Array;
  _malloc(bytes: number): number;
  _fvad_new(): number;
  _fvad_free(state: number): void;
  _fvad_reset(state: number): void;
  _fvad_set_mode(state: number, mode: number): number;
  _fvad_set_sample_rate(state: number, rateHz: number): number;
  _fvad_process(state: number, samples: number, length: number): number;
}

/** 20 ms at 16 kHz. */
export const vadFrameSamples = 320;

/** The first stage: WebRTC VAD, a few microseconds a frame. It calls noise speech, so it never decides alone. */
export interface Gate {
  /** Whether these 320 samples may be speech. */
  process(samples: Int16Array): boolean;
  reset(): void;
  /** Frees its memory. Idempotent; afterwards the gate stays shut. */
  close(): void;
}

export interface GateHost {
  open(): Gate;
}

/** Loads the WebAssembly module. `mode` is 0 (lets most through) to 3 (most strict); default 2. */
export async function createGateHost(mode = 2): Promise<GateHost> {
  const module = (await (createFvad as unknown as () => Promise<FvadModule>)()) as FvadModule;
  const buffer = module._malloc(vadFrameSamples * 2);
  return { open: () => new WebrtcGate(module, buffer, mode) };
}

class WebrtcGate implements Gate {
  readonly #module: FvadModule;
  readonly #buffer: number;
  readonly #mode: number;
  #state: number;

  constructor(module: FvadModule, buffer: number, mode: number) {
    this.#module = module;
    this.#buffer = buffer;
    this.#mode = mode;
    this.#state = module._fvad_new();
    if (this.#state === 0) throw new Error("WebRTC VAD: out of memory");
    this.#configure();
  }

  process(samples: Int16Array): boolean {
    if (this.#state === 0) return false;
    this.#module.HEAP16.set(samples, this.#buffer >> 1);
    return this.#module._fvad_process(this.#state, this.#buffer, samples.length) === 1;
  }

  reset(): void {
    if (this.#state === 0) return;
    this.#module._fvad_reset(this.#state);
    this.#configure();
  }

  close(): void {
    if (this.#state === 0) return;
    this.#module._fvad_free(this.#state);
    this.#state = 0;
  }

  #configure(): void {
    this.#module._fvad_set_sample_rate(this.#state, 16_000);
    this.#module._fvad_set_mode(this.#state, this.#mode);
  }
}
