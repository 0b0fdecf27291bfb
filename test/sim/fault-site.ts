import type { FaultKind } from "./fault-kinds.ts";
import type { Rng } from "./rng.ts";
import type { RuntimeProcess } from "./runtime-process.ts";
import type { World } from "./world.ts";

/** Where one fault strikes: the holder of the session, and draws of its own that no other fault shares. */
export interface FaultSite {
  readonly world: World;
  readonly runtime: RuntimeProcess;
  readonly rng: Rng;
  /** Counts it; call where it really strikes. */
  tell(kind: FaultKind): void;
  after(ms: number, run: () => void): void;
  /** Undone after `ms`, or when all is healed, once. */
  undo(ms: number, undo: () => void): void;
  /** The caller does nothing new for so long. */
  hold(ms: number): void;
  /** A torn tail was ordered: the spool may find it. */
  torn(): void;
}

/** Does its harm; nothing where there is nothing to harm. */
export type Fault = (site: FaultSite) => void;
