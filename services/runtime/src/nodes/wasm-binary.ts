/** What a WebAssembly module says of its memory, which the engine's own description leaves out. */

export interface MemoryImport {
  readonly module: string;
  readonly name: string;
  /** Pages of 64 KiB. */
  readonly initial: number;
  readonly maximum: number | null;
}

export interface WasmMemory {
  /** Memories of its own; a node has none. */
  readonly own: number;
  readonly imported: MemoryImport | null;
}

const SECTION_IMPORT = 2;
const SECTION_MEMORY = 5;
const HAS_MAXIMUM = 1;

/** Of a module that the engine has compiled. @throws RangeError where the bytes end too soon. */
export function readMemory(bytes: Uint8Array): WasmMemory {
  const input = new Reader(bytes, 8);
  let own = 0;
  let imported: MemoryImport | null = null;
  while (!input.atEnd()) {
    const id = input.byte();
    const end = input.unsigned() + input.at;
    if (id === SECTION_MEMORY) own = input.unsigned();
    if (id === SECTION_IMPORT) imported = importedMemory(input) ?? imported;
    input.at = end;
  }
  return { own, imported };
}

function importedMemory(input: Reader): MemoryImport | null {
  let found: MemoryImport | null = null;
  for (let left = input.unsigned(); left > 0; left--) {
    const module = input.text();
    const name = input.text();
    const kind = input.byte();
    if (kind === 0) input.unsigned();
    else if (kind === 1) {
      input.byte();
      input.limits();
    } else if (kind === 2) found = { module, name, ...input.limits() };
    else if (kind === 3) {
      input.byte();
      input.byte();
    } else {
      input.byte();
      input.unsigned();
    }
  }
  return found;
}

class Reader {
  readonly #bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  atEnd(): boolean {
    return this.at >= this.#bytes.length;
  }

  byte(): number {
    const value = this.#bytes[this.at];
    if (value === undefined) throw new RangeError("the module ends too soon");
    this.at += 1;
    return value;
  }

  /** LEB128. */
  unsigned(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if ((byte & 0x80) === 0) return value;
    }
  }

  text(): string {
    const length = this.unsigned();
    this.at += length;
    return new TextDecoder().decode(this.#bytes.subarray(this.at - length, this.at));
  }

  limits(): { initial: number; maximum: number | null } {
    const flags = this.byte();
    const initial = this.unsigned();
    return { initial, maximum: (flags & HAS_MAXIMUM) === 0 ? null : this.unsigned() };
  }
}
