/** Where the spool keeps its segments: files in production, memory in tests and the simulator. */

export interface StoreFailure {
  code: "no_space" | "io";
  detail: string;
  /** Part of the bytes may stand at the end of the segment: nothing more may be appended to it. */
  torn: boolean;
}

export interface SpoolStore {
  /** Names of the segments, sorted. */
  list(): string[];
  read(segment: string): Uint8Array;
  /** `length` bytes from `offset`, fewer at the end, without reading the rest. */
  readRange(segment: string, offset: number, length: number): Uint8Array;
  /** Hands bytes to the operating system: they then survive this process. Makes the segment when it is new. */
  append(segment: string, bytes: Uint8Array): StoreFailure | null;
  /** Brings the segment to the medium: it then survives the machine. */
  sync(segment: string, done: (failure: StoreFailure | null) => void): void;
  truncate(segment: string, bytes: number): StoreFailure | null;
  remove(segment: string): StoreFailure | null;
  /** Bytes free on the medium; Infinity where unknown. */
  freeBytes(): number;
  close(): void;
}
